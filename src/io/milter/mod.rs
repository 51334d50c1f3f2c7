//! Content filters: the mail server's side of the milter protocol.
//!
//! **Implements** `smtpd_milters`, `milter_default_action`, the milter timeouts and macros of postconf(5): one connection
//! to each filter for each session, filters in order, the later ones on the message as the earlier ones have left it.
//! **Does not** decide what becomes of a message: the session does, with the verdict it is handed.

mod changes;
mod channel;
mod content;
mod conversation;
mod failure;
mod macros;
mod message;
mod milters;
pub mod settings;
mod spool;

pub use changes::Changes;
pub use failure::Failure;
pub use macros::Known;
pub use message::Message;
pub use milters::Milters;
pub use spool::{MEMORY_OCTETS_MAX, SpoolError};
