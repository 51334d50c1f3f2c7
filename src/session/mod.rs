//! The server dialogue of RFC 5321, without a socket.

pub mod settings;
