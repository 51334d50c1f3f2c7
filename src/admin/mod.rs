//! The administration protocol: one JSON object per line each way, over the admin socket that `io` holds.

pub mod order;
pub mod request;
