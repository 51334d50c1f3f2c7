//! Estafette: a STARTTLS SMTP relay that lets people through because of the X.509 certificate they hold.
//!
//! Two ideas carry everything. **Pure cores, thin shell**: the server dialogue, the client dialogue, the
//! restriction chain and the queue's arithmetic are values that touch no socket, file, clock or logger; a
//! driver in [`io`] feeds them bytes, facts and the time. **A decision carries its reasons**: the chain
//! returns its verdict together with the trace of every restriction it asked, and the log, the reply and
//! `estafette explain` print that one value.
//!
//! # Layers
//!
//! A module uses modules of lower layers only, never a sibling, never upwards (`tests/tidy.rs` checks it):
//!
//! ```text
//! L7  cli                             commands
//! L6  daemon                          wiring, signals, reload, shutdown
//! L5  config                          TOML text -> checked settings
//! L4  io                              sockets, TLS, DNS, files, the store: the only layer that touches the world
//! L3  observe | admin                 events -> log, metrics, records | the admin protocol without its socket
//! L2  session | queue | outbound      three pure domains, blind to each other
//! L1  mail | policy                   envelope, outcome, trace header | the restriction chain
//! L0  wire | cert | net | time        RFC 5321 vocabulary | X.509 names and identity | CIDR | clock values
//! ```
//!
//! # Invariants
//!
//! 1. L0 to L3 contain no `async fn` bodies, no tokio, no rustls, no `std::fs`, no sockets, no clock, no
//!    randomness. Addresses and instants as values are fine.
//! 2. A core never logs. It returns events; `observe` alone calls `tracing` or counts.
//! 3. A reply is a value until `io` writes it. Every text this server can say stands in `session/replies.rs`.
//! 4. Bytes from a peer can never panic: no `unwrap`, `expect` or indexing in L0 to L3 on such bytes.
//! 5. Reaching TLS drops every unread octet and everything learnt before it (RFC 3207 section 4.2).
//! 6. No octet of mail data reaches the queue without a permitting verdict, and no `250` leaves before the
//!    queue says that the message would survive a power cut.

pub mod admin;
pub mod cert;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod io;
pub mod mail;
pub mod net;
pub mod observe;
pub mod outbound;
pub mod policy;
pub mod queue;
pub mod session;
pub mod time;
pub mod wire;
