//! Sockets, TLS, DNS, files, the store: the only layer that touches the world.
//!
//! The drivers here carry out what the cores of lower layers decide: [`inbound`] drives a `session::Session`,
//! [`deliver`] an `outbound::client`, [`scheduler`] moves messages from the queue to deliveries.

pub mod admin_socket;
pub mod admission;
pub mod authenticator;
pub mod bounce;
pub mod clock;
pub mod deliver;
pub mod dns;
pub mod dovecot_auth;
pub mod flow;
pub mod inbound;
pub mod introductions;
pub mod journal;
pub mod listener;
pub mod log_writer;
pub mod milter;
pub mod password_edit;
pub mod password_file;
pub mod permits;
pub mod plan;
pub mod policy_service;
pub mod questions;
pub mod replacing;
pub mod scheduler;
pub mod store;
pub mod systemd;
pub mod tls;
pub mod turns;
