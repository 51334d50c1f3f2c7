//! What the header of a message or a part says of its body.
//!
//! **Implements** RFC 2045 sections 4 to 6, as far as conversion needs it: type, boundary, encoding.
//! **Does not** read continued or encoded parameters (RFC 2231): no program writes a boundary so.

use super::fault::Fault;

/// The longest boundary taken, octets; RFC 2046 section 5.1.1 allows 70.
const BOUNDARY_OCTETS_MAX: usize = 250;

/// What a body is without a Content-Type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assumed {
    /// text/plain.
    Text,
    /// message/rfc822: within multipart/digest.
    Message,
}

/// How a body is made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One piece; text is to stay readable.
    Leaf {
        /// `text/*`, or a kind of message.
        is_text: bool,
    },
    /// message/partial or message/external-body.
    Rigid,
    /// message/rfc822.
    Message,
    /// multipart/*.
    Multipart {
        /// What parts its parts.
        boundary: Vec<u8>,
        /// multipart/digest.
        is_digest: bool,
        /// multipart/signed or multipart/encrypted.
        is_sealed: bool,
    },
}

/// A header, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// What it heads.
    pub kind: Kind,
    /// Whether it is labelled base64, quoted-printable or something unknown.
    pub is_encoded: bool,
    /// Whether MIME-Version stands in it.
    pub has_version: bool,
    /// Whether Content-Type stands in it.
    pub has_type: bool,
}

impl Entity {
    /// Reads a header: whole lines, without the empty one.
    ///
    /// # Errors
    /// [`Fault::Boundary`].
    pub fn read(header: &[u8], assumed: Assumed) -> Result<Self, Fault> {
        let mut found = Self {
            kind: match assumed {
                Assumed::Text => Kind::Leaf { is_text: true },
                Assumed::Message => Kind::Message,
            },
            is_encoded: false,
            has_version: false,
            has_type: false,
        };
        for field in fields(header) {
            let value = || String::from_utf8_lossy(field.value).replace("\r\n", "");
            if field.is("content-type") && !found.has_type {
                found.has_type = true;
                found.kind = kind(&value())?;
            } else if field.is("content-transfer-encoding") {
                let value = without_comments(&value()).trim().to_ascii_lowercase();
                found.is_encoded = !matches!(value.as_str(), "" | "7bit" | "8bit" | "binary");
            } else if field.is("mime-version") {
                found.has_version = true;
            }
        }
        if found.is_encoded && matches!(found.kind, Kind::Message | Kind::Multipart { .. }) {
            // RFC 2045 section 6.4 forbids it; whoever wrote it has packed it up whole.
            found.kind = Kind::Leaf { is_text: false };
        }
        Ok(found)
    }
}

/// A header field.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// All of it, with its line ends.
    pub raw: &'a [u8],
    name: &'a [u8],
    value: &'a [u8],
}

impl Field<'_> {
    /// Whether it has this name, given in lower case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a header.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let mut end = 0_usize;
        loop {
            let tail = rest.get(end..)?;
            let line = memchr::memmem::find(tail, b"\r\n").map_or(tail.len(), |at| at.saturating_add(2));
            if line == 0 || (end > 0 && !matches!(tail.first(), Some(b' ' | b'\t'))) {
                break;
            }
            end = end.saturating_add(line);
        }
        let (raw, others) = rest.split_at_checked(end).filter(|(raw, _)| !raw.is_empty())?;
        rest = others;
        let colon = memchr::memchr(b':', raw).unwrap_or(raw.len());
        Some(Field {
            raw,
            name: raw.get(..colon).unwrap_or_default().trim_ascii_end(),
            value: raw.get(colon.saturating_add(1)..).unwrap_or_default(),
        })
    })
}

fn kind(value: &str) -> Result<Kind, Fault> {
    let value = without_comments(value);
    let (media_type, parameters) = value.split_once(';').unwrap_or((&value, ""));
    let media_type = media_type.trim().to_ascii_lowercase();
    let (main, sub) = media_type.split_once('/').unwrap_or((&media_type, ""));
    Ok(match (main.trim(), sub.trim()) {
        ("multipart", sub) => {
            let boundary = parameter(parameters, "boundary").map(String::into_bytes);
            // RFC 2046 section 5.1.1: a boundary does not end with a space.
            let is_usable = |boundary: &Vec<u8>| {
                (1..=BOUNDARY_OCTETS_MAX).contains(&boundary.len()) && boundary.is_ascii() && !boundary.ends_with(b" ")
            };
            Kind::Multipart {
                boundary: boundary.filter(is_usable).ok_or(Fault::Boundary)?,
                is_digest: sub == "digest",
                is_sealed: matches!(sub, "signed" | "encrypted"),
            }
        }
        ("message", "rfc822") => Kind::Message,
        ("message", "partial" | "external-body") => Kind::Rigid,
        // RFC 6532 section 3.7: message/global may be encoded as a whole, and has octets above 127 in its header.
        ("message", "global") => Kind::Leaf { is_text: false },
        ("text" | "message" | "", _) => Kind::Leaf { is_text: true },
        _ => Kind::Leaf { is_text: false },
    })
}

/// Without what stands in parentheses outside of quotes.
fn without_comments(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let (mut depth, mut is_quoted) = (0_usize, false);
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if depth == 0 => is_quoted = !is_quoted,
            '(' if !is_quoted => depth = depth.saturating_add(1),
            ')' if !is_quoted && depth > 0 => {
                depth = depth.saturating_sub(1);
                continue;
            }
            '\\' if is_quoted || depth > 0 => {
                if depth == 0 {
                    out.push(letter);
                    out.extend(letters.next());
                } else {
                    letters.next();
                }
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            out.push(letter);
        }
    }
    out
}

/// The value of a parameter, without quotes.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.rsplit(';').next().unwrap_or_default().trim();
        let after = after.trim_start();
        let (value, left) = if let Some(quoted) = after.strip_prefix('"') {
            unquoted(quoted)
        } else {
            let (value, left) = after.split_at(after.find(';').unwrap_or(after.len()));
            (value.trim_end().to_owned(), left)
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = left;
    }
}

fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, text.get(at.saturating_add(1)..).unwrap_or_default()),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundary(header: &str) -> Option<String> {
        match Entity::read(header.as_bytes(), Assumed::Text).ok()?.kind {
            Kind::Multipart { boundary, .. } => String::from_utf8(boundary).ok(),
            _ => None,
        }
    }

    #[test]
    fn boundary_is_found_however_it_is_written() {
        for (header, expected) in [
            ("Content-Type: multipart/mixed; boundary=abc\r\n", "abc"),
            (
                "content-type: Multipart/Mixed;\r\n\tcharset=x; BOUNDARY=\"a b\\\"c\"\r\n",
                "a b\"c",
            ),
            (
                "Content-Type: multipart/mixed; x=\"boundary=no\"; boundary=yes (ok)\r\n",
                "yes",
            ),
            ("X: 1\r\nContent-Type : multipart/mixed ; boundary = q ; y=z\r\n", "q"),
        ] {
            assert_eq!(boundary(header).as_deref(), Some(expected), "{header}");
        }
        for header in [
            "Content-Type: multipart/mixed\r\n",
            "Content-Type: multipart/mixed; boundary=\"\"\r\n",
        ] {
            assert_eq!(Entity::read(header.as_bytes(), Assumed::Text), Err(Fault::Boundary));
        }
    }

    #[test]
    fn fields_are_cut_where_they_begin() {
        let header = b"A: 1\r\n 2\r\nB:\r\n";
        let raw: Vec<&[u8]> = fields(header).map(|field| field.raw).collect();
        assert_eq!(raw, [b"A: 1\r\n 2\r\n".as_slice(), b"B:\r\n"]);
    }
}
