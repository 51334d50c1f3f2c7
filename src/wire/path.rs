//! Reverse-path, forward-path and mailbox.
//!
//! **Implements** RFC 5321 section 4.1.2: quoted local-parts, address literals, source routes (read and
//! dropped, section 3.3), the null reverse-path, `<postmaster>` without a domain (section 4.1.1.3).
//! UTF-8 in local-parts as in RFC 6531 section 3.3, compared as it stands; in domains as `domain` says.
//! **Does not** ask whether SMTPUTF8 was declared: the session does. Of the characters that RFC 6532 section 3.1 lets through,
//! those that end or turn a line, and U+FFFD, which stands for octets that are no UTF-8, are refused.

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
    /// An octet above 127 where SMTPUTF8 was not declared.
    #[error("the address is not ASCII and SMTPUTF8 was not declared")]
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
            bounded(without_route(inside)?).map(Self::Mailbox)
        }
    }

    /// Whether it can be named to a host with SMTPUTF8 only.
    pub fn needs_utf8(&self) -> bool {
        matches!(self, Self::Mailbox(mailbox) if mailbox.needs_utf8())
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
        bounded(without_route(inside)?).map(Self::Mailbox)
    }

    /// Whether it can be named to a host with SMTPUTF8 only.
    pub fn needs_utf8(&self) -> bool {
        matches!(self, Self::Mailbox(mailbox) if mailbox.needs_utf8())
    }
}

fn bracketed(text: &str) -> Result<&str, PathError> {
    if text.len() > PATH_OCTETS_MAX {
        return Err(PathError::TooLong);
    }
    text.strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .ok_or(PathError::Syntax)
}

/// Reads a mailbox that is short enough as it goes on too: A-labels are longer than the U-labels they stand for, and what is
/// printed is what the queue reads back and a next hop is told.
fn bounded(text: &str) -> Result<Mailbox, PathError> {
    let mailbox = Mailbox::parse(text)?;
    let printed_octets = mailbox.to_string().len().saturating_add("<>".len());
    if printed_octets > PATH_OCTETS_MAX {
        return Err(PathError::TooLong);
    }
    Ok(mailbox)
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

    /// Whether it can be named to a host with SMTPUTF8 only. A domain never asks for it: it has A-labels.
    pub fn needs_utf8(&self) -> bool {
        !self.local_part.is_ascii()
    }
}

/// RFC 5322 atext with RFC 6532 section 3.2.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_text(c)
}

/// A character above U+007F that an address may hold.
fn is_utf8_text(c: char) -> bool {
    /// Line and paragraph separators, and what turns the direction of a line.
    const UNSEEN: [char; 14] = [
        '\u{061C}', '\u{200E}', '\u{200F}', '\u{2028}', '\u{2029}', '\u{202A}', '\u{202B}', '\u{202C}', '\u{202D}',
        '\u{202E}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
    ];
    !c.is_ascii() && !c.is_control() && c != char::REPLACEMENT_CHARACTER && !UNSEEN.contains(&c)
}

fn is_dot_string(text: &str) -> bool {
    !text.is_empty()
        && text
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
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
            c if is_utf8_text(c) => local_part.push(c),
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
            ("<é.ü@Bücher.example>", "é.ü@xn--bcher-kva.example"),
            ("<\"é ü\"@example.org>", "\"é ü\"@example.org"),
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
    fn mailbox_is_the_same_in_either_spelling_of_its_domain() {
        let one = Mailbox::parse("josé@bücher.example").unwrap();
        assert_eq!(Ok(&one), Mailbox::parse("josé@xn--bcher-kva.example").as_ref());
        assert!(one.needs_utf8() && !Mailbox::parse("a@bücher.example").unwrap().needs_utf8());
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
            ("<\u{85}@example.org>", PathError::Syntax),
            ("<a\u{2028}@example.org>", PathError::Syntax),
            ("<a\u{202E}@example.org>", PathError::Syntax),
            ("<a\u{FFFD}@example.org>", PathError::Syntax),
            ("<\"\\é\"@example.org>", PathError::Syntax),
            ("<a@é\u{2028}.org>", PathError::Domain),
        ] {
            assert_eq!(ForwardPath::parse(text), Err(why), "{text}");
        }
        for long in ["a".repeat(65), "é".repeat(33)] {
            let path = format!("<{long}@example.org>");
            assert_eq!(ForwardPath::parse(&path), Err(PathError::TooLong));
        }
    }
    #[test]
    fn path_whose_a_labels_are_too_long_is_refused() {
        let domain = ["wwwwwwwwwwwwwwwwwü"; 8].join(".");
        let long = format!("<{}@{domain}>", "a".repeat(60));
        assert!(long.len() < PATH_OCTETS_MAX, "{long}");
        assert_eq!(ReversePath::parse(&long), Err(PathError::TooLong));
        assert_eq!(ForwardPath::parse(&long), Err(PathError::TooLong));
        let path = ForwardPath::parse(&format!("<a@{domain}>")).unwrap();
        assert_eq!(ForwardPath::parse(&format!("<{path}>")), Ok(path));
    }
}
