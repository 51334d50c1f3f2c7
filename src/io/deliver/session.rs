//! Drives one transaction of the client dialogue over a connection.
//!
//! **Does not** decide anything: `outbound::client` does.

use std::time::Duration;

use tokio::time::timeout_at;

use super::channel::Channel;
use super::connection::{Connection, now};
use super::places::Place;
use crate::io::tls::client::ClientTls;
use crate::mail::queue_id::QueueId;
use crate::outbound::client::Client;
use crate::outbound::client_state::Action;
use crate::queue::Store;

/// Octets of mail data asked of the store at once.
const DATA_PIECE_OCTETS: usize = 64 * 1024;
/// How long a peer that stopped reading is listened to for its reason.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);

/// What a transaction needs besides its connection.
pub struct Session<'a, S> {
    /// Where the mail data is.
    pub store: &'a S,
    /// Which message.
    pub id: QueueId,
    /// For STARTTLS.
    pub tls: &'a ClientTls,
    /// The peer, for its name and what its certificate must show.
    pub place: &'a Place,
}

/// The client's deadline for tokio; one that cannot be represented is a day away.
pub fn deadline(client: &Client) -> tokio::time::Instant {
    client.poll_timeout().map_or_else(
        || tokio::time::Instant::now() + Duration::from_hours(24),
        tokio::time::Instant::from_std,
    )
}

impl<S: Store> Session<'_, S> {
    /// Holds the dialogue to the end of its transaction. Dropped midway, the connection closes without a final dot unless
    /// that was sent already.
    pub async fn run(&self, connection: &mut Connection) {
        let mut offset = 0;
        loop {
            match connection.client.poll_action() {
                Some(Action::Send(octets)) => write(connection, &octets).await,
                Some(Action::WantData) => {
                    // A reply to mail data that is not all sent is none to the final dot, and must not be taken for it.
                    hear(connection);
                    if !connection.client.is_over() {
                        self.feed(&mut connection.client, &mut offset).await;
                    }
                }
                Some(Action::StartTls) => self.start_tls(connection).await,
                Some(Action::Close) => return,
                None if connection.client.is_settled() => return,
                None => read(connection).await,
            }
        }
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

    /// The handshake. When it fails the client knows, and there is no connection any more.
    async fn start_tls(&self, connection: &mut Connection) {
        let client = &mut connection.client;
        let stream = match std::mem::replace(&mut connection.channel, Channel::Closed) {
            Channel::Plain(stream) => stream,
            // The dialogue asks for it in plaintext only.
            Channel::Tls(_) | Channel::Closed => return client.handle_tls(now(), Err("TLS is in use already".into())),
        };
        let handshake = self.tls.connect(stream, &self.place.host, &self.place.check);
        let result = match timeout_at(deadline(client), handshake).await {
            Ok(Ok(stream)) => {
                connection.channel = Channel::Tls(Box::new(stream));
                connection.tls = connection.channel.tls_description();
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(String::from("the handshake timed out")),
        };
        client.handle_tls(now(), result);
    }
}

/// Writes; when the peer does not take it, hears what it has to say first.
async fn write(connection: &mut Connection, octets: &[u8]) {
    let Connection { client, channel, .. } = connection;
    match timeout_at(deadline(client), channel.write_all(octets)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => last_words(connection).await,
        Err(_) => timed_out(client),
    }
}

async fn last_words(connection: &mut Connection) {
    let Connection {
        client,
        channel,
        buffer,
        ..
    } = connection;
    let hearing = async {
        while let Ok(length @ 1..) = channel.read(buffer).await {
            client.handle_bytes(now(), buffer.get(..length).unwrap_or_default());
            if client.is_over() {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, hearing).await;
    client.handle_eof();
}

/// Hears what has come already, without waiting.
fn hear(connection: &mut Connection) {
    let Connection {
        client,
        channel,
        buffer,
        ..
    } = connection;
    match channel.read_now(buffer) {
        None => {}
        Some(Ok(length @ 1..)) => client.handle_bytes(now(), buffer.get(..length).unwrap_or_default()),
        Some(_) => client.handle_eof(),
    }
}

async fn read(connection: &mut Connection) {
    let Connection {
        client,
        channel,
        buffer,
        ..
    } = connection;
    match timeout_at(deadline(client), channel.read(buffer)).await {
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
