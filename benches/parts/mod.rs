//! The parts of the bench: each measures one promise and gives a section of the page.

mod connections;
mod fsyncs;
mod large;
mod million;
mod pair;
mod tail;
mod throughput;

use std::io;

use crate::side::bench::Bench;

/// A part that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// 50 sessions × 100 messages of 4 KiB, plain and over mTLS.
    Throughput,
    /// One message per connection, plain and with a whole TLS handshake and a client certificate.
    Connections,
    /// Syncs to disk per message.
    Fsyncs,
    /// Latency of the final dot at Postfix's own maximum rate.
    Tail,
    /// A million messages for a dead next hop.
    Million,
    /// 16 messages of 20 MiB at once; 1,000 recipients in one message.
    Large,
}

/// All parts, in the page's order.
pub const ALL: [Part; 6] = [
    Part::Throughput,
    Part::Connections,
    Part::Fsyncs,
    Part::Tail,
    Part::Large,
    Part::Million,
];

/// What a part found.
#[derive(Default)]
pub struct Section {
    pub markdown: String,
    /// The plot, from the part that draws it.
    pub svg: Option<String>,
}

impl From<String> for Section {
    fn from(markdown: String) -> Self {
        Self { markdown, svg: None }
    }
}

impl Part {
    /// Measures it; `messages` is the length of the long queue.
    ///
    /// # Errors
    /// A server does not do what is measured: refuses mail, loses it, does not start.
    pub fn run(self, bench: &Bench, messages: u64) -> io::Result<Section> {
        match self {
            Self::Throughput => throughput::run(bench).map(Section::from),
            Self::Connections => connections::run(bench).map(Section::from),
            Self::Fsyncs => fsyncs::run(bench).map(Section::from),
            Self::Tail => tail::run(bench).map(Section::from),
            Self::Large => large::run(bench).map(Section::from),
            Self::Million => million::run(bench, messages),
        }
    }

    /// Whether Debian's Postfix takes part.
    pub fn needs_postfix(self) -> bool {
        !matches!(self, Self::Million | Self::Large)
    }
}
