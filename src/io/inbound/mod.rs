//! Drives one [`Session`](crate::session::Session): reads the socket, upgrades to TLS, asks whom the session asks, hands
//! mail data to the queue, keeps the deadlines.
//!
//! **Does not** decide anything: the session does, and this carries out its actions in order.

mod door;
mod drafts;
mod driver;
mod filtering;
mod judging;
mod passwords;
mod upstream;
mod waiting;
mod wire;
mod world;

pub use drafts::QUEUE_TIME_MAX;
pub use driver::{Inbound, serve};
pub use upstream::is_unlisted;
