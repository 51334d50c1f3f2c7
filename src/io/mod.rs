//! Sockets, TLS, DNS, files, the store: the only layer that touches the world.

pub mod deliver;
pub mod dns;
pub mod store;
pub mod tls;
