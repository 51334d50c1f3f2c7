//! Reverse-path, forward-path and mailbox.
//!
//! **Implements** RFC 5321 section 4.1.2: quoted local-parts, address literals, source routes (read and
//! dropped, section 3.3), the null reverse-path, `<postmaster>` without a domain (section 4.1.1.3).
//! **Does not** take octets above 127: SMTPUTF8 is not announced.

use std::fmt;

use super::domain::Host;

/// The longest path, octets with its brackets (RFC 5321 section 4.5.3.1.3).
pub const PATH_OCTETS_MAX: usize = 256;
/// The longest local-part, octets (RFC 5321 section 4.5.3.1.1).
pub const LOCAL_PART_OCTETS_MAX: usize = 64;

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The brackets, the local-part or the `@` are wrong.
    #[error("bad address syntax")]
    Syntax,
    /// The domain or the address literal is wrong or missing.
    #[error("bad domain in the address")]
    Domain,
    /// Longer than RFC 5321 section 4.5.3.1 allows.
    #[error("address too long")]
    TooLong,
    /// An octet above 127, which only SMTPUTF8 allows.
    #[error("the address is not ASCII and SMTPUTF8 is not offered")]
    NotAscii,
}

/// `local-part@domain`; the local-part is kept without quotes and compared as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mailbox {
    /// Unquoted; printing quotes it where the grammar asks for it.
    pub local_part: String,
    /// Name or address literal.
    pub host: Host,
}

/// The argument of MAIL FROM.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReversePath {
    /// `<>`: never bounced to.
    Null,
    /// Where a bounce goes.
    Mailbox(Mailbox),
}

/// The argument of RCPT TO.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain.
    Postmaster,
    /// An ordinary recipient.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Reads the text between and with the angle brackets.
    ///
    /// # Errors
    /// [`PathError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let inside = bracketed(text)?;
        if inside.is_empty() {
            Ok(Self::Null)
        } else {
            Mailbox::parse(without_route(inside)?).map(Self::Mailbox)
        }
    }
}

impl ForwardPath {
    /// Reads the text between and with the angle brackets.
    ///
    /// # Errors
    /// [`PathError`] says what is wrong; the null path is one.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let inside = bracketed(text)?;
        if inside.eq_ignore_ascii_case("postmaster") {
            return Ok(Self::Postmaster);
        }
        Mailbox::parse(without_route(inside)?).map(Self::Mailbox)
    }
}

fn bracketed(text: &str) -> Result<&str, PathError> {
    if !text.is_ascii() {
        return Err(PathError::NotAscii);
    }
    if text.len() > PATH_OCTETS_MAX {
        return Err(PathError::TooLong);
    }
    text.strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .ok_or(PathError::Syntax)
}

/// RFC 5321 section 4.1.1.3: "servers MUST be prepared to encounter a list of source routes [..] but SHOULD
/// ignore the routes".
fn without_route(inside: &str) -> Result<&str, PathError> {
    if !inside.starts_with('@') {
        return Ok(inside);
    }
    let (route, mailbox) = inside.split_once(':').ok_or(PathError::Syntax)?;
    let hop_is_good = |hop: &str| hop.strip_prefix('@').and_then(Host::parse).is_some();
    if route.split(',').all(hop_is_good) {
        Ok(mailbox)
    } else {
        Err(PathError::Syntax)
    }
}

impl Mailbox {
    /// Reads `local-part@domain` without brackets.
    ///
    /// # Errors
    /// [`PathError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if !text.is_ascii() {
            return Err(PathError::NotAscii);
        }
        let (local_part, rest) = if text.starts_with('"') {
            quoted_local_part(text)?
        } else {
            dot_string(text)?
        };
        if local_part.len() > LOCAL_PART_OCTETS_MAX {
            return Err(PathError::TooLong);
        }
        let domain = rest.strip_prefix('@').ok_or(PathError::Syntax)?;
        let host = Host::parse(domain).ok_or(PathError::Domain)?;
        Ok(Self { local_part, host })
    }
}

/// RFC 5322 atext.
fn is_atext(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b)
}

fn is_dot_string(text: &str) -> bool {
    !text.is_empty()
        && text
            .split('.')
            .all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

fn dot_string(text: &str) -> Result<(String, &str), PathError> {
    let at = text.find('@').ok_or(PathError::Syntax)?;
    let (local_part, rest) = text.split_at(at);
    if is_dot_string(local_part) {
        Ok((local_part.to_owned(), rest))
    } else {
        Err(PathError::Syntax)
    }
}

fn quoted_local_part(text: &str) -> Result<(String, &str), PathError> {
    let mut local_part = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((local_part, text.get(at + 1..).unwrap_or_default())),
            '\\' => match chars.next() {
                Some((_, c @ ' '..='~')) => local_part.push(c),
                _ => return Err(PathError::Syntax),
            },
            ' '..='~' => local_part.push(c),
            _ => return Err(PathError::Syntax),
        }
    }
    Err(PathError::Syntax)
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local_part) {
            return write!(f, "{}@{}", self.local_part, self.host);
        }
        f.write_str("\"")?;
        for c in self.local_part.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.host)
    }
}

impl fmt::Display for ReversePath {
    /// Without brackets; the null reverse-path is empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Mailbox(mailbox) => write!(f, "{mailbox}"),
        }
    }
}

impl fmt::Display for ForwardPath {
    /// Without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("postmaster"),
            Self::Mailbox(mailbox) => write!(f, "{mailbox}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_printed() {
        for (text, printed) in [
            ("<a.b@Example.org>", "a.b@example.org"),
            ("<\"a b\"@example.org>", "\"a b\"@example.org"),
            ("<\"a\\\"b\"@example.org>", "\"a\\\"b\"@example.org"),
            ("<\"ab\"@example.org>", "ab@example.org"),
            ("<\"\"@example.org>", "\"\"@example.org"),
            ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
            ("<@one.example,@two.example:a@example.org>", "a@example.org"),
            ("<PostMaster>", "postmaster"),
        ] {
            assert_eq!(
                ForwardPath::parse(text).map(|p| p.to_string()),
                Ok(printed.to_owned()),
                "{text}"
            );
        }
        assert_eq!(ReversePath::parse("<>"), Ok(ReversePath::Null));
    }

    #[test]
    fn bad_paths_are_refused() {
        for (text, why) in [
            ("a@example.org", PathError::Syntax),
            ("<a@example.org", PathError::Syntax),
            ("<a@b@example.org>", PathError::Domain),
            ("<a..b@example.org>", PathError::Syntax),
            ("<.a@example.org>", PathError::Syntax),
            ("<a b@example.org>", PathError::Syntax),
            ("<a@>", PathError::Domain),
            ("<a@-x.org>", PathError::Domain),
            ("<>", PathError::Syntax),
            ("<alice>", PathError::Syntax),
            ("<\"a\r\n\"@example.org>", PathError::Syntax),
            ("<é@example.org>", PathError::NotAscii),
        ] {
            assert_eq!(ForwardPath::parse(text), Err(why), "{text}");
        }
        let long = format!("<{}@example.org>", "a".repeat(65));
        assert_eq!(ForwardPath::parse(&long), Err(PathError::TooLong));
    }
}
