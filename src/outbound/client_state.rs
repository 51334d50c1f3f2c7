//! What the client dialogue is told, what it asks of its driver, and how it ends.
//!
//! ```text
//! Greeting -> Hello -> [StartTls -> Handshake -> Hello] -> Envelope -> Body -> FinalReply -> Idle -> Envelope ...
//!                 \-> (5xx) HELO                              |                                \-> Reset -> Envelope
//!                                                             \-> (nobody left) [LoneDot] -> Idle
//! Idle -> (end) -> Over; every state may fail into Over
//! ```

use std::sync::Arc;
use std::time::Duration;

use super::capabilities::EhloKeywords;
use super::fate::Fate;
use super::settings::{EightBitMail, OutboundSettings, TlsLevel};
use crate::mail::envelope::{Body, Demands};
use crate::wire::path::{ForwardPath, ReversePath};

/// One mail transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// RCPT TO, one or more.
    pub forward_paths: Vec<ForwardPath>,
    /// Declared body type.
    pub body: Body,
    /// Octets of mail data, for SIZE.
    pub size_octets: u64,
    /// What the client of the other side asked for, in the order of the forward-paths.
    pub demands: Demands,
}

/// How one session is to be held.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The name for EHLO.
    pub hello_name: String,
    /// The peer as `host[address]:port`, for reports.
    pub remote: String,
    /// What TLS must reach; [`TlsLevel::None`] for a plaintext retry.
    pub tls_level: TlsLevel,
    /// Whether TLS came first (`smtp_tls_wrappermode`).
    pub tls_wrapper: bool,
    /// `smtp_discard_ehlo_keywords`.
    pub discarded: Arc<EhloKeywords>,
    /// Whether eight-bit mail is converted for a peer that does not take it: not so with `disable_mime_output_conversion`.
    pub converts: bool,
    /// Up to each reply before the mail data.
    pub hello_timeout: Duration,
    /// For each piece of mail data.
    pub data_transfer_timeout: Duration,
    /// Up to the reply to the final dot.
    pub data_done_timeout: Duration,
}

impl ClientOptions {
    /// The options of a session with `remote` under these settings, at their TLS level.
    pub fn new(settings: &OutboundSettings, remote: String) -> Self {
        Self {
            hello_name: settings.hello_name.clone(),
            remote,
            tls_level: settings.tls_level,
            tls_wrapper: settings.tls_wrapper,
            discarded: Arc::clone(&settings.discarded_keywords),
            converts: settings.eight_bit_mail == EightBitMail::Converted,
            hello_timeout: settings.hello_timeout,
            data_transfer_timeout: settings.data_transfer_timeout,
            data_done_timeout: settings.data_done_timeout,
        }
    }
}

/// What the driver is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Write these octets.
    Send(Vec<u8>),
    /// Do the TLS handshake, and report it with `handle_tls`.
    StartTls,
    /// Read the mail data, and report with `handle_survey` what is in it.
    Survey,
    /// Bring the next piece of mail data with `handle_data_chunk`; converted, when the survey said that it can be and
    /// [`super::client::Client::is_converting`].
    WantData,
    /// Close the connection; the dialogue is over.
    Close,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ending {
    /// One fate per forward-path, in order.
    Settled(Vec<Fate>),
    /// TLS failed at level `may`: connect to the same address again without it. The fates hold when that is not done.
    RetryInPlaintext(Vec<Fate>),
    /// The kept session came to its end before the peer took anything: the transaction is as if never tried, and belongs
    /// on a fresh connection at once. Never the ending of a session's first transaction.
    Stale,
}

/// Where the dialogue stands.
#[derive(Debug)]
pub enum State {
    /// Waiting for 220.
    Greeting,
    /// EHLO is sent.
    Hello,
    /// HELO is sent, after EHLO was refused.
    PlainHello,
    /// STARTTLS is sent.
    StartTls,
    /// The driver does the handshake.
    Handshake,
    /// RSET is sent, before the next transaction.
    Reset,
    /// The driver looks at the mail data.
    Survey,
    /// MAIL, RCPT and DATA.
    Envelope,
    /// The driver brings mail data.
    Body(crate::wire::data::DotStuffer),
    /// The final dot is sent.
    FinalReply,
    /// The dot of a message to nobody is sent.
    LoneDot,
    /// A transaction ended in order; the session takes the next.
    Idle(Leftover),
    /// The transaction is settled, and only QUIT is left to say.
    Spent,
    /// Nothing more will be said.
    Over,
}

impl State {
    /// What was going on, for reports; the transaction itself knows more of its envelope.
    pub const fn activity(&self) -> Option<&'static str> {
        Some(match self {
            Self::Greeting => "receiving the initial server greeting",
            Self::Hello | Self::PlainHello => "performing the EHLO handshake",
            Self::StartTls => "sending STARTTLS",
            Self::Handshake => "performing the TLS handshake",
            Self::Reset => "sending RSET",
            Self::Survey => "looking at the message",
            Self::Envelope => return None,
            Self::Body(_) => "sending the mail data",
            Self::FinalReply => "waiting for the reply to the final dot",
            Self::LoneDot => "giving up a message to nobody",
            Self::Idle(_) | Self::Spent | Self::Over => "closing",
        })
    }
}

/// What the peer may still hold of the transaction that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Nothing.
    None,
    /// A transaction that never reached its data.
    OpenTransaction,
}
