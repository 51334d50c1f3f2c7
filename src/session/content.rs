//! The mail data of one message as it streams through: decoded, counted, cut into pieces for the queue.
//!
//! **Implements** RFC 5321 section 4.1.1.4, the chunks of RFC 3030, `message_size_limit`, `header_size_limit`,
//! `hopcount_limit` (section 6.3 of RFC 5321).
//! **Does not** keep a message: at most one piece of it.

use super::action::QueueRefusal;
use super::event::{BareOctet, MessageFault};
use super::limits::DATA_BLOCK_OCTETS;
use super::settings::SessionSettings;
use crate::mail::from_header::FromCollector;
use crate::wire::chunking::{Chunk, ChunkDecoder};
use crate::wire::data::{BareNewline, DataDecoder};

/// Octets of mail data handed to the queue at a time.
const PIECE_OCTETS: usize = 64 * 1024;

/// Mail data on its way.
#[derive(Debug)]
pub(super) struct Content {
    framing: Framing,
    piece: Vec<u8>,
    header: HeaderScanner,
    from: Option<FromCollector>,
    size_octets: u64,
    fault: Option<MessageFault>,
    block_octets: usize,
    has_begun: bool,
}

/// How the end of the mail data is told.
#[derive(Debug)]
enum Framing {
    /// DATA: by a dot.
    Dot(DataDecoder),
    /// BDAT: by the length of the last chunk.
    Chunks(ChunkDecoder),
}

/// What became of some octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// How many belong to the mail data.
    pub(super) read: usize,
    /// Whether another [`DATA_BLOCK_OCTETS`] are complete, which counts as progress.
    pub(super) block_done: bool,
    /// Whether the message turned out to be unfit just now: its draft may go.
    pub(super) fault_found: bool,
}

impl Content {
    /// Nothing received yet, of DATA or of the first chunk; the From header field is kept when there is something to keep it.
    pub(super) fn new(from: Option<FromCollector>, first_chunk: Option<Chunk>) -> Self {
        let framing = match first_chunk {
            None => Framing::Dot(DataDecoder::new()),
            Some(chunk) => Framing::Chunks(ChunkDecoder::new(chunk)),
        };
        Self {
            framing,
            piece: Vec::new(),
            header: HeaderScanner::default(),
            from,
            size_octets: 0,
            fault: None,
            block_octets: 0,
            has_begun: false,
        }
    }

    /// The next chunk begins.
    pub(super) fn begin_chunk(&mut self, chunk: Chunk) {
        if let Framing::Chunks(decoder) = &mut self.framing {
            decoder.begin(chunk);
        }
    }

    /// The chunk that was read whole, when more of the message is to come.
    pub(super) fn finished_chunk(&self) -> Option<Chunk> {
        match &self.framing {
            Framing::Chunks(decoder) if decoder.remaining() == 0 && !decoder.has_ended() => Some(decoder.chunk()),
            _ => None,
        }
    }

    /// Takes octets up to the end of the chunk, the end of data or the end of a piece. Pieces, and so the queue's work, do not depend on
    /// how the octets arrived.
    pub(super) fn take(&mut self, octets: &[u8], settings: &SessionSettings) -> Progress {
        // An octet becomes at most two, a CR before them and the end of an open line add three: this many never go past the
        // end of a piece.
        let room = PIECE_OCTETS.saturating_sub(self.piece.len()).saturating_sub(6).max(2) / 2;
        let octets = octets.get(..room).unwrap_or(octets);
        let before = self.piece.len();
        let read = match &mut self.framing {
            Framing::Dot(decoder) => decoder.decode(octets, &mut self.piece),
            Framing::Chunks(decoder) => decoder.decode(octets, &mut self.piece),
        };
        self.begin(before);
        let fresh = self.piece.get(before..).unwrap_or_default();
        self.size_octets = self.size_octets.saturating_add(fresh.len() as u64);
        self.header.take(fresh);
        if let Some(from) = &mut self.from {
            from.take(fresh);
        }
        let had_fault = self.fault.is_some();
        if settings.is_too_big(self.size_octets) {
            self.fault.get_or_insert(MessageFault::TooBig);
        }
        if self.header.hops >= settings.hops_max {
            self.fault.get_or_insert(MessageFault::TooManyHops);
        }
        let header_max = settings.defences.header_field_octets_max;
        if header_max > 0 && self.header.field_octets_most > header_max {
            self.fault.get_or_insert(MessageFault::HeaderTooBig);
        }
        if self.fault.is_some() {
            self.piece.clear();
        }
        self.block_octets = self.block_octets.saturating_add(read);
        let block_done = self.block_octets >= DATA_BLOCK_OCTETS;
        self.block_octets %= DATA_BLOCK_OCTETS;
        Progress {
            read,
            block_done,
            fault_found: !had_fault && self.fault.is_some(),
        }
    }

    /// Content that begins with a blank has no header: an empty line goes before it, as in Postfix. Without that line it
    /// would continue our trace header, and the client would write into it.
    fn begin(&mut self, before: usize) {
        if self.has_begun {
            return;
        }
        let first = self.piece.get(before).copied();
        self.has_begun = first.is_some();
        if matches!(first, Some(b' ' | b'\t')) {
            self.piece.splice(before..before, *b"\r\n");
        }
    }

    /// The next piece for the queue: a full one, or at the end of data whatever is left.
    pub(super) fn next_piece(&mut self) -> Option<Vec<u8>> {
        let is_due = self.piece.len() >= PIECE_OCTETS - 4 || (self.has_ended() && !self.piece.is_empty());
        is_due.then(|| std::mem::take(&mut self.piece))
    }

    /// The queue failed: the rest is read and thrown away. False when the draft is gone already.
    pub(super) fn fail(&mut self, why: QueueRefusal) -> bool {
        let is_news = self.fault.is_none();
        self.fault.get_or_insert(MessageFault::Queue(why));
        self.piece.clear();
        is_news
    }

    /// Whether the end of data was seen.
    pub(super) fn has_ended(&self) -> bool {
        match &self.framing {
            Framing::Dot(decoder) => decoder.has_ended(),
            Framing::Chunks(decoder) => decoder.has_ended(),
        }
    }

    /// Whether the header holds an octet above 127.
    pub(super) fn has_utf8_header(&self) -> bool {
        self.header.has_utf8
    }

    /// The From header field, when it was asked for.
    pub(super) fn from(&self) -> Option<&FromCollector> {
        self.from.as_ref()
    }

    /// Octets kept until the next piece is complete.
    pub(super) fn kept_octets(&self) -> usize {
        self.piece.len()
    }

    /// Octets received so far, dots taken out.
    pub(super) fn size_octets(&self) -> u64 {
        self.size_octets
    }

    /// A bare newline seen so far; the LF, which is the dangerous one, first.
    pub(super) fn bare_octet(&self) -> Option<BareOctet> {
        let (lf, cr) = match &self.framing {
            Framing::Dot(decoder) => (decoder.saw_bare_lf(), decoder.saw_bare_cr()),
            Framing::Chunks(decoder) => (decoder.saw_bare_lf(), decoder.saw_bare_cr()),
        };
        if lf {
            Some(BareOctet::Lf)
        } else if cr {
            Some(BareOctet::Cr)
        } else {
            None
        }
    }

    /// Why the message is not to be taken, if so. A bare newline counts most, since it ends the session.
    pub(super) fn fault(&self, policy: BareNewline) -> Option<MessageFault> {
        match self.bare_octet() {
            Some(which) if policy == BareNewline::Reject => Some(MessageFault::BareNewline(which)),
            _ => self.fault.clone(),
        }
    }

    /// Whether a draft is still open for this message.
    pub(super) fn has_draft(&self) -> bool {
        self.fault.is_none()
    }
}

/// Counts Received headers and the octets of the largest header field, and looks for UTF-8, in content whose lines end in
/// CRLF, up to the empty line.
#[derive(Clone, Copy, Debug, Default)]
struct HeaderScanner {
    hops: usize,
    has_utf8: bool,
    /// Octets of this field so far, its continuation lines included.
    field_octets: u64,
    field_octets_most: u64,
    column: usize,
    matches: bool,
    in_body: bool,
}

impl HeaderScanner {
    const NAME: &'static [u8] = b"received:";

    fn take(&mut self, content: &[u8]) {
        for octet in content {
            if self.in_body {
                return;
            }
            self.step(*octet);
        }
    }

    fn step(&mut self, octet: u8) {
        self.field_octets = self.field_octets.saturating_add(1);
        if self.column == 0 && !matches!(octet, b' ' | b'\t') {
            self.field_octets = 1;
        }
        self.field_octets_most = self.field_octets_most.max(self.field_octets);
        if octet == b'\n' {
            self.column = 0;
            return;
        }
        if self.column == 0 {
            self.matches = true;
            self.in_body = octet == b'\r';
        }
        self.has_utf8 = self.has_utf8 || !octet.is_ascii();
        if let Some(expected) = Self::NAME.get(self.column) {
            self.matches = self.matches && octet.eq_ignore_ascii_case(expected);
            if self.matches && self.column + 1 == Self::NAME.len() {
                self.hops = self.hops.saturating_add(1);
            }
        }
        self.column = self.column.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_headers_are_counted_in_the_header_only() {
        let mut header = HeaderScanner::default();
        for octet in b"Received: a\r\n\tReceived: b\r\nX: Received:\r\nRECEIVED: c\r\n\r\nReceived: d\r\n" {
            header.take(&[*octet]);
        }
        assert_eq!(header.hops, 2);
    }

    #[test]
    fn utf8_counts_in_the_header_only() {
        for (content, has_utf8) in [
            ("Subject: a\r\n\r\né", false),
            ("Subject: é\r\n\r\n", true),
            ("\r\né", false),
        ] {
            let mut header = HeaderScanner::default();
            header.take(content.as_bytes());
            assert_eq!(header.has_utf8, has_utf8, "{content:?}");
        }
    }
}
