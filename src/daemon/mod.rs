//! The daemon: wiring of listeners, scheduler, queue and admin socket; signals, reload, the watch on revocation,
//! shutdown.
//!
//! **Does not** know how a dialogue, a delivery or a commit goes: `io` does.

mod error;
mod listeners;
mod queue_bounce;
pub mod queue_commands;
mod reload;
mod service;
mod signals;
mod watch;

pub use error::StartError;
pub use service::Daemon;
