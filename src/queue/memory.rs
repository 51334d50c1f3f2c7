//! The in-memory model of the queue.
