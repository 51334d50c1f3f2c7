//! A message on its way: envelope, queue id, outcome of a delivery, trace header.
//!
//! **Does not** hold mail data: the queue streams it.

pub mod envelope;
pub mod outcome;
pub mod queue_id;
pub mod trace_header;
