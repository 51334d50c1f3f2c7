//! Events become log lines, counts and records of the decision journal: the only place that calls `tracing`.
//!
//! Lines are named `noun.verb_past`; everything variable is in fields. error: a human must act now; warn: look this
//! week; info: one line per message per stage; debug: per command. Mail data is never logged.

pub mod decision;
pub mod decision_line;
pub mod log;
pub mod metrics;
pub mod session;
