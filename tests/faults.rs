//! A disk that fails under the real daemon: each fault has an outcome, as docs/queue.md tells it.
//!
//! The faults come from a library preloaded into the daemon (tests/faults/shim.c), through which every call on the queue's
//! files goes, SQLite's own included; and from real file systems where the test may mount them.

mod common;

#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/damage.rs"]
mod damage;
#[path = "faults/place.rs"]
mod place;
#[path = "faults/shim.rs"]
mod shim;
#[path = "faults/space.rs"]
mod space;
#[path = "faults/sync.rs"]
mod sync;
#[path = "faults/systematic.rs"]
mod systematic;
#[path = "faults/world.rs"]
mod world;
