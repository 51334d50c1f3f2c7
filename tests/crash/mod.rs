//! What the crash tests share: load whose every octet can be told again, and the record of what was acknowledged.

#![allow(dead_code, reason = "the power-cut test uses a part of it")]

pub mod kills;
pub mod load;
pub mod message;
pub mod queue_check;
pub mod random;
