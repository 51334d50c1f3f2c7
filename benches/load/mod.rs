//! Load for measuring: an SMTP generator and SMTP sinks that cost as little as they can.
//!
//! They run as processes of their own, so that their CPU seconds are told apart from those of the server between them:
//! the bench binary starts itself again with the first word `load` or `sink`.
//!
//! **Does not** know what server it talks to, and keeps nothing of what it gets but counts.

#![allow(dead_code, reason = "the bench and the smoke test each use a part of it")]

pub mod connection;
pub mod generator;
pub mod report;
pub mod sink;
pub mod tls;

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds of the system's clock: comparable between processes of one machine.
pub fn now_nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Threads for a generator or a sink: one for each processor.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
