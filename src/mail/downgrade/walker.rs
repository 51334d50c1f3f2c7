//! The structure of a message, part by part, as its octets come.
//!
//! **Implements** RFC 2046 section 5.1 (multipart; a delimiter is a whole line, and the line end before it belongs to it)
//! and 5.2.1 (message/rfc822).
//! **Does not** complain of a multipart that is cut off, or of a header that runs into its body: it takes them as they are.

use super::entity::{Assumed, Entity, Kind};
use super::fault::Fault;

/// Parts within parts; Postfix's `mime_nesting_limit`.
pub const NESTING_MAX: usize = 100;
/// Parts in all.
pub const PARTS_MAX: usize = 10_000;
/// The header of one part, octets.
pub const HEADER_OCTETS_MAX: usize = 256 * 1024;
/// A line that is longer is no delimiter, and need not be kept.
const LINE_OCTETS_MAX: usize = 2048;

/// Who is told what the walker finds.
pub trait Visitor {
    /// A header of whole lines; its empty line follows as an edge.
    ///
    /// # Errors
    /// Ends the walk.
    fn header(&mut self, part: &Part<'_>) -> Result<(), Fault>;
    /// Octets of the leaf whose header came last.
    ///
    /// # Errors
    /// Ends the walk.
    fn body(&mut self, octets: &[u8]) -> Result<(), Fault>;
    /// The leaf has ended.
    fn end(&mut self);
    /// Octets that belong to no leaf: delimiters, and what stands before the first and behind the last.
    fn edge(&mut self, octets: &[u8]);
}

/// A part that begins.
#[derive(Debug)]
pub struct Part<'a> {
    /// The message itself is 0.
    pub number: usize,
    /// What its header says.
    pub entity: Entity,
    /// The header.
    pub raw: &'a [u8],
    /// Whether it stands within a multipart/signed or multipart/encrypted.
    pub is_sealed: bool,
}

#[derive(Debug)]
enum State {
    Header(Vec<u8>, Assumed),
    Leaf,
    /// Before the first delimiter, or behind the last.
    Between,
}

#[derive(Debug)]
struct Frame {
    /// None for a message within a message.
    boundary: Option<Vec<u8>>,
    is_digest: bool,
    is_sealed: bool,
}

/// Where in the message it is.
#[derive(Debug)]
pub struct Walker {
    state: State,
    frames: Vec<Frame>,
    pending: Vec<u8>,
    /// The beginning of the line has been passed on.
    is_mid_line: bool,
    /// A line end that belongs to a delimiter if one follows.
    is_end_held: bool,
    parts: usize,
}

impl Default for Walker {
    fn default() -> Self {
        Self {
            state: State::Header(Vec::new(), Assumed::Text),
            frames: Vec::new(),
            pending: Vec::new(),
            is_mid_line: false,
            is_end_held: false,
            parts: 0,
        }
    }
}

impl Walker {
    /// Walks on.
    ///
    /// # Errors
    /// [`Fault`]; the walk is over then.
    pub fn push(&mut self, octets: &[u8], visitor: &mut impl Visitor) -> Result<(), Fault> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(octets);
        let mut rest = pending.as_slice();
        while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
            self.line(rest.get(..end).unwrap_or_default(), true, visitor)?;
            rest = rest.get(end.saturating_add(2)..).unwrap_or_default();
        }
        let is_header = matches!(self.state, State::Header(..));
        if is_header && rest.len() > HEADER_OCTETS_MAX {
            return Err(Fault::HeaderTooLong);
        }
        if !is_header && rest.len() > LINE_OCTETS_MAX {
            // A CR may be the first half of a line end.
            let whole = rest.len().saturating_sub(usize::from(rest.ends_with(b"\r")));
            self.piece(rest.get(..whole).unwrap_or_default(), visitor)?;
            self.is_mid_line = true;
            rest = rest.get(whole..).unwrap_or_default();
        }
        self.pending = rest.to_vec();
        Ok(())
    }

    /// The message has ended.
    ///
    /// # Errors
    /// As for [`Walker::push`].
    pub fn finish(mut self, visitor: &mut impl Visitor) -> Result<(), Fault> {
        let last = std::mem::take(&mut self.pending);
        if !last.is_empty() {
            self.line(&last, false, visitor)?;
        }
        if let State::Header(..) = self.state {
            self.end_header(visitor)?;
        }
        // The last line end of a multipart that is cut off belongs to the delimiter that is missing.
        let is_cut_off = self.frames.iter().any(|frame| frame.boundary.is_some());
        if !is_cut_off {
            self.release_end(visitor)?;
        }
        if let State::Leaf = self.state {
            visitor.end();
        }
        if self.is_end_held {
            visitor.edge(b"\r\n");
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], has_end: bool, visitor: &mut impl Visitor) -> Result<(), Fault> {
        if !std::mem::take(&mut self.is_mid_line) {
            if let Some((frame, is_last)) = self.delimiter(line) {
                return self.part_ends(line, frame, is_last, visitor);
            }
            if let State::Header(header, _) = &mut self.state {
                if is_field_line(line, header.is_empty()) {
                    header.extend_from_slice(line);
                    header.extend_from_slice(b"\r\n");
                    let is_short = header.len() <= HEADER_OCTETS_MAX;
                    return if is_short { Ok(()) } else { Err(Fault::HeaderTooLong) };
                }
                self.end_header(visitor)?;
                visitor.edge(b"\r\n");
                if line.is_empty() {
                    return Ok(());
                }
                // A header that runs into the body: the line may belong to a header within, if it heads a message.
                return self.line(line, has_end, visitor);
            }
        }
        self.piece(line, visitor)?;
        self.is_end_held = has_end;
        Ok(())
    }

    /// A line of a body, or a piece of it.
    fn piece(&mut self, octets: &[u8], visitor: &mut impl Visitor) -> Result<(), Fault> {
        self.release_end(visitor)?;
        if let State::Leaf = self.state {
            return visitor.body(octets);
        }
        visitor.edge(octets);
        Ok(())
    }

    fn release_end(&mut self, visitor: &mut impl Visitor) -> Result<(), Fault> {
        if std::mem::take(&mut self.is_end_held) {
            if let State::Leaf = self.state {
                return visitor.body(b"\r\n");
            }
            visitor.edge(b"\r\n");
        }
        Ok(())
    }

    /// Which multipart the line delimits, and whether it ends it. The innermost comes first.
    fn delimiter(&self, line: &[u8]) -> Option<(usize, bool)> {
        let line = line.strip_prefix(b"--")?.trim_ascii_end();
        let mut frames = self.frames.iter().enumerate().rev();
        frames.find_map(|(place, frame)| match line.strip_prefix(frame.boundary.as_deref()?)? {
            b"" => Some((place, false)),
            b"--" => Some((place, true)),
            _ => None,
        })
    }

    fn part_ends(&mut self, line: &[u8], frame: usize, is_last: bool, visitor: &mut impl Visitor) -> Result<(), Fault> {
        if let State::Header(..) = self.state {
            self.end_header(visitor)?;
        }
        if let State::Leaf = self.state {
            visitor.end();
        }
        if std::mem::take(&mut self.is_end_held) {
            visitor.edge(b"\r\n");
        }
        visitor.edge(line);
        visitor.edge(b"\r\n");
        self.frames.truncate(frame.saturating_add(usize::from(!is_last)));
        let is_digest = self.frames.last().is_some_and(|frame| frame.is_digest);
        self.state = if is_last {
            State::Between
        } else if is_digest {
            State::Header(Vec::new(), Assumed::Message)
        } else {
            State::Header(Vec::new(), Assumed::Text)
        };
        Ok(())
    }

    fn end_header(&mut self, visitor: &mut impl Visitor) -> Result<(), Fault> {
        let State::Header(raw, assumed) = std::mem::replace(&mut self.state, State::Leaf) else {
            return Ok(());
        };
        let entity = Entity::read(&raw, assumed)?;
        let kind = entity.kind.clone();
        visitor.header(&Part {
            number: self.parts,
            entity,
            raw: &raw,
            is_sealed: self.frames.iter().any(|frame| frame.is_sealed),
        })?;
        self.parts = self.parts.saturating_add(1);
        if self.parts > PARTS_MAX {
            return Err(Fault::Parts);
        }
        let (frame, state) = match kind {
            Kind::Leaf { .. } | Kind::Rigid => return Ok(()),
            Kind::Message => {
                let frame = Frame {
                    boundary: None,
                    is_digest: false,
                    is_sealed: false,
                };
                (frame, State::Header(Vec::new(), Assumed::Text))
            }
            Kind::Multipart {
                boundary,
                is_digest,
                is_sealed,
            } => {
                let frame = Frame {
                    boundary: Some(boundary),
                    is_digest,
                    is_sealed,
                };
                (frame, State::Between)
            }
        };
        self.frames.push(frame);
        self.state = state;
        if self.frames.len() > NESTING_MAX {
            Err(Fault::Nesting)
        } else {
            Ok(())
        }
    }
}

/// Whether the line belongs to a header: a field begins or goes on.
fn is_field_line(line: &[u8], is_first: bool) -> bool {
    match line.first() {
        None => false,
        Some(b' ' | b'\t') => !is_first,
        Some(_) => {
            let name = memchr::memchr(b':', line).and_then(|colon| line.get(..colon));
            name.map(<[u8]>::trim_ascii_end)
                .is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
        }
    }
}
