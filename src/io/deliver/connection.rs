//! A connection with its session, from its making to its end, over one transaction or many.
//!
//! **Does not** decide anything: `outbound::client` does, and `connections` keeps what is idle.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::channel::Channel;
use crate::outbound::client::Client;
use crate::outbound::client_state::Action;

/// Octets of replies read at once.
const READ_OCTETS: usize = 4096;
/// How long the farewell of one connection may take: QUIT and close_notify are written, not answered.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

/// Both clocks agree with tokio's, so that a test may stop them.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A connection and the dialogue over it.
pub struct Connection {
    /// The dialogue.
    pub client: Client,
    /// What it goes over.
    pub channel: Channel,
    /// For replies; kept, so that it is zeroed once.
    pub(super) buffer: Box<[u8]>,
    /// When it was made.
    pub made: Instant,
    /// Protocol and cipher, once under TLS.
    pub tls: Option<String>,
}

impl Connection {
    /// A connection just made.
    pub fn new(client: Client, channel: Channel, now: Instant) -> Self {
        Self {
            client,
            tls: channel.tls_description(),
            channel,
            buffer: vec![0; READ_OCTETS].into_boxed_slice(),
            made: now,
        }
    }

    /// Says QUIT where that can be said, and closes. Errors do not matter any more.
    pub async fn finish(mut self) {
        self.client.end();
        let farewell = async {
            while let Some(action) = self.client.poll_action() {
                let Action::Send(octets) = action else { continue };
                if self.channel.write_all(&octets).await.is_err() {
                    return;
                }
            }
            self.channel.shutdown().await;
        };
        let _ = timeout(FAREWELL_TIMEOUT, farewell).await;
    }
}
