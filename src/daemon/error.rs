//! Why a daemon cannot start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::io::store::OpenError;
use crate::io::tls::error::TlsFileError;

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The queue cannot be opened.
    #[error("the queue in {directory} cannot be opened: {source}")]
    Queue {
        /// `queue_directory`.
        directory: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address} (listener {name}): {source}")]
    Listen {
        /// The listener's name.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// An address shares its port with one that this daemon already listens on.
    #[error("cannot listen on {address} (listener {name}) while this daemon listens on {open}: that needs a restart")]
    Overlaps {
        /// The listener's name.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// The address in its way.
        open: SocketAddr,
    },
    /// Certificate or key files.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Tls(Vec<TlsFileError>),
    /// The admin socket, or what the system handed over.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}
