//! The outbound side: where a message goes, the client dialogue, what a failure becomes.

pub mod settings;
