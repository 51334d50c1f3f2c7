//! Drives the client dialogue over a connection.
//!
//! **Does not** decide anything: `outbound::client` does.

use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::channel::Channel;
use crate::io::tls::client::{ClientTls, ServerCheck};
use crate::mail::queue_id::QueueId;
use crate::outbound::client::Client;
use crate::outbound::client_state::Action;
use crate::queue::Store;

/// Octets of mail data asked of the store at once.
const DATA_PIECE_OCTETS: usize = 64 * 1024;
/// How long a peer that stopped reading is listened to for its reason.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long close_notify may take to be written.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What a session needs besides its connection.
pub struct Session<'a, S> {
    /// Where the mail data is.
    pub store: &'a S,
    /// Which message.
    pub id: QueueId,
    /// For STARTTLS.
    pub tls: &'a ClientTls,
    /// The host, for SNI.
    pub server_name: &'a str,
    /// What its certificate must show.
    pub check: ServerCheck,
}

/// Both clocks agree with tokio's, so that a test may stop them.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The client's deadline for tokio; one that cannot be represented is a day away.
pub fn deadline(client: &Client) -> tokio::time::Instant {
    client.poll_timeout().map_or_else(
        || tokio::time::Instant::now() + Duration::from_hours(24),
        tokio::time::Instant::from_std,
    )
}

impl<S: Store> Session<'_, S> {
    /// Holds the dialogue to its end; returns the description of TLS if it was reached. Dropped midway, the connection
    /// closes without a final dot unless that was sent already.
    pub async fn run(&self, client: &mut Client, channel: Channel) -> Option<String> {
        let mut channel = channel;
        let mut offset = 0;
        let mut description = channel.tls_description();
        loop {
            match client.poll_action() {
                Some(Action::Send(octets)) => write(client, &mut channel, &octets).await,
                Some(Action::WantData) => self.feed(client, &mut offset).await,
                Some(Action::StartTls) => {
                    channel = self.start_tls(client, channel).await?;
                    description = channel.tls_description();
                }
                Some(Action::Close) => break,
                None if client.is_over() => break,
                None => read(client, &mut channel).await,
            }
        }
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, channel.shutdown()).await;
        description
    }

    /// Brings the next piece of mail data.
    async fn feed(&self, client: &mut Client, offset: &mut u64) {
        match self.store.data(self.id, *offset, DATA_PIECE_OCTETS).await {
            Ok(piece) => {
                *offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                client.handle_data_chunk(now(), &piece);
            }
            Err(error) => client.handle_data_error(&error.to_string()),
        }
    }

    /// The handshake. `None`: it failed, the client knows, and there is no connection any more.
    async fn start_tls(&self, client: &mut Client, channel: Channel) -> Option<Channel> {
        let stream = match channel {
            Channel::Plain(stream) => stream,
            // The dialogue asks for it in plaintext only.
            Channel::Tls(_) => {
                client.handle_tls(now(), Err("TLS is in use already".into()));
                return None;
            }
        };
        let handshake = self.tls.connect(stream, self.server_name, &self.check);
        let result = match timeout_at(deadline(client), handshake).await {
            Ok(Ok(stream)) => {
                client.handle_tls(now(), Ok(()));
                return Some(Channel::Tls(Box::new(stream)));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => String::from("the handshake timed out"),
        };
        client.handle_tls(now(), Err(result));
        None
    }
}

/// Writes; when the peer does not take it, hears what it has to say first.
async fn write(client: &mut Client, channel: &mut Channel, octets: &[u8]) {
    match timeout_at(deadline(client), channel.write_all(octets)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => last_words(client, channel).await,
        Err(_) => timed_out(client),
    }
}

async fn last_words(client: &mut Client, channel: &mut Channel) {
    let mut buffer = [0; 4096];
    let hearing = async {
        while let Ok(length @ 1..) = channel.read(&mut buffer).await {
            client.handle_bytes(now(), buffer.get(..length).unwrap_or_default());
            if client.is_over() {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, hearing).await;
    client.handle_eof();
}

async fn read(client: &mut Client, channel: &mut Channel) {
    let mut buffer = [0; 4096];
    match timeout_at(deadline(client), channel.read(&mut buffer)).await {
        Ok(Ok(length @ 1..)) => client.handle_bytes(now(), buffer.get(..length).unwrap_or_default()),
        Ok(_) => client.handle_eof(),
        Err(_) => timed_out(client),
    }
}

/// What was cut off cannot be resumed (a part of it may be written), so the session is over whatever the clock says.
fn timed_out(client: &mut Client) {
    let at = client.poll_timeout().unwrap_or_else(now);
    client.handle_timeout(at);
    client.handle_eof();
}
