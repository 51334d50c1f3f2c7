//! TLS with rustls: server, client, the judge of client certificates, PEM files.

pub mod client;
pub mod settings;
