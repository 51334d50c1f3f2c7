//! Commands: the verb first, then, when it may be said, its argument.
//!
//! **Implements** RFC 5321 section 4.1.1, STARTTLS of RFC 3207, AUTH of RFC 4954 and BDAT of RFC 3030. Letter case does not matter in verbs; a space
//! behind `FROM:` and `TO:` is let through, as Postfix does.
//! **Does not** decide whether a command may be said now.

use super::path::PathError;

/// What a command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// HELO.
    Helo,
    /// EHLO.
    Ehlo,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// BDAT.
    Bdat,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
    /// STARTTLS.
    StartTls,
    /// AUTH.
    Auth,
    /// A command of an extension that no listener here offers: ETRN (RFC 1985), ATRN, BURL, XFORWARD, and what RFC 5321
    /// appendix F took out of SMTP.
    NotImplemented,
    /// The first word of another protocol (`smtpd_forbidden_commands`: CONNECT, GET, POST).
    Foreign,
}

const VERBS: [(&str, Verb); 25] = [
    ("HELO", Verb::Helo),
    ("EHLO", Verb::Ehlo),
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("RSET", Verb::Rset),
    ("NOOP", Verb::Noop),
    ("VRFY", Verb::Vrfy),
    ("EXPN", Verb::Expn),
    ("HELP", Verb::Help),
    ("QUIT", Verb::Quit),
    ("STARTTLS", Verb::StartTls),
    ("AUTH", Verb::Auth),
    ("ETRN", Verb::NotImplemented),
    ("ATRN", Verb::NotImplemented),
    ("TURN", Verb::NotImplemented),
    ("SEND", Verb::NotImplemented),
    ("SOML", Verb::NotImplemented),
    ("SAML", Verb::NotImplemented),
    ("BURL", Verb::NotImplemented),
    ("XFORWARD", Verb::NotImplemented),
    ("CONNECT", Verb::Foreign),
    ("GET", Verb::Foreign),
    ("POST", Verb::Foreign),
];

/// A command line taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The first word.
    pub verb: Verb,
    /// The rest without the white space around it; empty when there is none.
    pub argument: String,
}

/// Why a line is not a command; the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A CR, NUL or another control character in the line.
    #[error("bad command syntax")]
    ControlCharacter,
    /// Nothing in the line.
    #[error("empty command")]
    Empty,
    /// A word that is no command.
    #[error("command not recognized")]
    Unknown,
}

impl Command {
    /// Reads a line without its end. Octets that are not UTF-8 stand as replacement characters, which no argument
    /// takes.
    ///
    /// # Errors
    /// [`CommandError`] says what is wrong.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        if line.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
            return Err(CommandError::ControlCharacter);
        }
        let text = String::from_utf8_lossy(line);
        let text = text.trim_matches([' ', '\t']);
        let (word, argument) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        if word.is_empty() {
            return Err(CommandError::Empty);
        }
        VERBS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
            .map(|(_, verb)| Self {
                verb: *verb,
                argument: argument.trim_matches([' ', '\t']).to_owned(),
            })
            .ok_or(CommandError::Unknown)
    }
}

/// Why the argument of MAIL or RCPT cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathArgumentError {
    /// `FROM:` or `TO:` is missing.
    #[error("the keyword before the address is missing")]
    Keyword,
    /// The address is wrong.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Splits `FROM:<path> parameters` (or `TO:`) into the path with its brackets and the parameters.
///
/// # Errors
/// [`PathArgumentError`] when the keyword is missing, the brackets do not close, or something other than white
/// space follows them.
pub fn split_path_argument<'a>(argument: &'a str, keyword: &str) -> Result<(&'a str, &'a str), PathArgumentError> {
    let head = argument.get(..keyword.len()).ok_or(PathArgumentError::Keyword)?;
    if !head.eq_ignore_ascii_case(keyword) {
        return Err(PathArgumentError::Keyword);
    }
    let rest = argument.get(keyword.len()..).unwrap_or_default();
    let rest = rest.trim_start_matches([' ', '\t']);
    let end = end_of_path(rest).ok_or(PathError::Syntax)?;
    let (path, parameters) = rest.split_at(end);
    if parameters.is_empty() || parameters.starts_with([' ', '\t']) {
        Ok((path, parameters.trim_matches([' ', '\t'])))
    } else {
        Err(PathError::Syntax.into())
    }
}

/// The place behind the `>` that closes the path; one inside a quoted local-part does not.
fn end_of_path(text: &str) -> Option<usize> {
    if !text.starts_with('<') {
        return None;
    }
    let mut is_quoted = false;
    let mut octets = text.bytes().enumerate().skip(1);
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => drop(octets.next()),
            b'>' if !is_quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_taken_apart() {
        assert_eq!(
            Command::parse(b" mail  FROM:<a@example.org> SIZE=1 "),
            Ok(Command {
                verb: Verb::Mail,
                argument: "FROM:<a@example.org> SIZE=1".into()
            })
        );
        for (line, why) in [
            (b"".as_slice(), CommandError::Empty),
            (b"  ", CommandError::Empty),
            (b"FOO", CommandError::Unknown),
            (b"NOOP\0", CommandError::ControlCharacter),
            (b"NOOP\rNOOP", CommandError::ControlCharacter),
        ] {
            assert_eq!(Command::parse(line), Err(why));
        }
        assert!(Command::parse(b"VRFY \xff\xfe").is_ok());
    }

    #[test]
    fn path_argument_is_split() {
        for (argument, path, parameters) in [
            ("FROM:<a@example.org>", "<a@example.org>", ""),
            ("from: <>  SIZE=1", "<>", "SIZE=1"),
            ("FROM:<\"a> \\\"b\"@example.org> X", "<\"a> \\\"b\"@example.org>", "X"),
        ] {
            assert_eq!(split_path_argument(argument, "FROM:"), Ok((path, parameters)));
        }
    }

    #[test]
    fn bad_path_argument_is_refused() {
        let syntax = PathArgumentError::Path(PathError::Syntax);
        for (argument, why) in [
            ("", PathArgumentError::Keyword),
            ("TO:<a@example.org>", PathArgumentError::Keyword),
            ("éééé", PathArgumentError::Keyword),
            ("FROM:a@example.org", syntax),
            ("FROM:<a@example.org", syntax),
            ("FROM:<a@example.org>x", syntax),
            ("FROM:<\"a@example.org>", syntax),
            ("FROM:é", syntax),
        ] {
            assert_eq!(split_path_argument(argument, "FROM:"), Err(why), "{argument}");
        }
    }
}
