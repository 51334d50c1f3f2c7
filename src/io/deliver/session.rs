//! Drives one transaction of the client dialogue over a connection.
//!
//! **Does not** decide anything: `outbound::client` does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout_at;

use super::channel::Channel;
use super::connection::{Connection, now};
use super::places::Place;
use crate::io::tls::client::ClientTls;
use crate::mail::downgrade::convert::Converter;
use crate::mail::downgrade::fault::Fault;
use crate::mail::downgrade::survey::{Plan, Survey, Surveyor};
use crate::mail::queue_id::QueueId;
use crate::outbound::client::Client;
use crate::outbound::client_demands::{SevenBit, Surveyed};
use crate::outbound::client_state::Action;
use crate::queue::{Store, StoreError};

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

/// How far the mail data has been brought, and how.
#[derive(Default)]
struct Feed {
    offset: u64,
    /// How it is converted, if it has to be.
    plan: Option<Arc<Plan>>,
    converter: Option<Converter>,
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
        let mut feed = Feed::default();
        loop {
            match connection.client.poll_action() {
                Some(Action::Send(octets)) => write(connection, &octets).await,
                Some(Action::WantData) => {
                    // A reply to mail data that is not all sent is none to the final dot, and must not be taken for it.
                    hear(connection);
                    if !connection.client.is_over() {
                        self.feed(&mut connection.client, &mut feed).await;
                    }
                }
                Some(Action::Survey) => self.survey(&mut connection.client, &mut feed).await,
                Some(Action::StartTls) => self.start_tls(connection).await,
                Some(Action::Close) => return,
                None if connection.client.is_settled() => return,
                None => read(connection).await,
            }
        }
    }

    /// Brings the next piece of mail data, as it is or converted.
    async fn feed(&self, client: &mut Client, feed: &mut Feed) {
        let piece = match self.piece(&mut feed.offset).await {
            Ok(piece) => piece,
            Err(error) => return client.handle_data_error(&error.to_string()),
        };
        let Some(plan) = feed.plan.as_ref().filter(|_| client.is_converting()) else {
            return client.handle_data_chunk(now(), &piece);
        };
        let mut piece = piece;
        let mut converted = Vec::with_capacity(DATA_PIECE_OCTETS);
        let converter = feed.converter.get_or_insert_with(|| Converter::new(Arc::clone(plan)));
        let mut result = Ok(());
        // A piece may hold nothing that is complete.
        while result.is_ok() && !piece.is_empty() && converted.is_empty() {
            result = converter.push(&piece, &mut converted);
            if converted.is_empty() {
                match self.piece(&mut feed.offset).await {
                    Ok(next) => piece = next,
                    Err(error) => return client.handle_data_error(&error.to_string()),
                }
            }
        }
        if piece.is_empty()
            && let Some(converter) = feed.converter.take()
        {
            result = result.and_then(|()| converter.finish(&mut converted));
        }
        match result {
            Ok(()) => client.handle_data_chunk(now(), &converted),
            Err(fault) => client.handle_data_error(&fault.to_string()),
        }
    }

    async fn piece(&self, offset: &mut u64) -> Result<Bytes, StoreError> {
        let piece = self.store.data(self.id, *offset, DATA_PIECE_OCTETS).await?;
        *offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Ok(piece)
    }

    /// Looks at the mail data: twice, if it has to be converted, for the size it will have.
    async fn survey(&self, client: &mut Client, feed: &mut Feed) {
        match self.look(feed).await {
            Ok(surveyed) => client.handle_survey(now(), surveyed),
            Err(error) => client.handle_data_error(&error.to_string()),
        }
    }

    async fn look(&self, feed: &mut Feed) -> Result<Surveyed, StoreError> {
        let (mut surveyor, mut offset) = (Surveyor::default(), 0);
        loop {
            let piece = self.piece(&mut offset).await?;
            if piece.is_empty() {
                break;
            }
            surveyor.push(&piece);
        }
        let Survey {
            is_header_ascii,
            is_ascii,
            plan,
        } = surveyor.finish();
        let seven_bit = match plan {
            _ if is_ascii => SevenBit::AsItIs,
            Err(fault) => SevenBit::Impossible(fault),
            Ok(plan) => {
                let plan = Arc::new(plan);
                feed.plan = Some(Arc::clone(&plan));
                self.measure(plan)
                    .await?
                    .map_or_else(SevenBit::Impossible, SevenBit::Converted)
            }
        };
        Ok(Surveyed {
            is_header_ascii,
            seven_bit,
        })
    }

    /// Octets of the message once it is converted.
    async fn measure(&self, plan: Arc<Plan>) -> Result<Result<u64, Fault>, StoreError> {
        let (mut converter, mut offset, mut octets) = (Converter::new(plan), 0, 0_u64);
        let mut out = Vec::new();
        loop {
            let piece = self.piece(&mut offset).await?;
            out.clear();
            if piece.is_empty() {
                let finished = converter.finish(&mut out);
                return Ok(finished.map(|()| octets.saturating_add(out.len() as u64)));
            }
            if let Err(fault) = converter.push(&piece, &mut out) {
                return Ok(Err(fault));
            }
            octets = octets.saturating_add(out.len() as u64);
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
