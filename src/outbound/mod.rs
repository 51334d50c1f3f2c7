//! The outbound side: where a message goes, the client dialogue, what a failure becomes.

pub mod bounce;
pub mod capabilities;
pub mod client;
pub mod client_demands;
pub mod client_state;
pub mod fate;
mod notice_text;
pub mod original;
pub mod progress;
pub mod reply_reader;
pub mod route;
pub mod settings;

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod reuse_tests;
#[cfg(test)]
mod route_tests;
