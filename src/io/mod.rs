//! Sockets, TLS, DNS, files, the store: the only layer that touches the world.

pub mod store;
pub mod tls;
