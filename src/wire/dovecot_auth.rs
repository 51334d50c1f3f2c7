//! The protocol between a mail server and Dovecot's password service.
//!
//! **Implements** Dovecot's authentication protocol, version 1, the client's side: the handshake, AUTH and CONT, OK, FAIL
//! and CONT, the escapes of a value.
//! **Does not** ask for anything but PLAIN and LOGIN, nor take part in the protocol of master connections.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::base64;
use super::sasl::{Credentials, PasswordMechanism, PasswordMechanisms, Secret};

/// The longest line of the service that is read, octets.
pub const LINE_OCTETS_MAX: usize = 8192;
/// The most lines of a handshake.
const HANDSHAKE_LINES_MAX: usize = 256;
/// The longest reason that is kept, characters.
const REASON_CHARACTERS_MAX: usize = 200;

/// What is wrong with what the service said; its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line that is none of the protocol.
    #[error("it sent a line that is none of Dovecot's authentication protocol")]
    Line,
    /// Not version 1.
    #[error("it speaks another major version of the protocol than 1")]
    Version,
    /// A handshake without end.
    #[error("its handshake has too many lines")]
    Handshake,
    /// It challenges once more than the mechanism has challenges.
    #[error("it asked for more than the mechanism has")]
    Challenge,
}

/// A line of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerLine {
    /// The major version.
    Version(u32),
    /// A mechanism it takes.
    Mechanism(String),
    /// The end of the handshake.
    Done,
    /// Of the handshake too, or of a later minor version.
    Other,
    /// The answer to one request.
    Answer(u32, Answer),
}

/// What the service says to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Right: the login as the service spells it; `None` when it does not say.
    Right(Option<String>),
    /// Wrong.
    Wrong(Refusal),
    /// It wants the next response.
    Challenge,
}

/// Why the service refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Login or password is wrong; perhaps with a text for the client.
    Credentials(Option<String>),
    /// `code=user_disabled`.
    Disabled,
    /// `code=pass_expired`.
    Expired,
    /// `temp`, or `code=temp_fail`: it could not find out.
    Temporary(Option<String>),
}

/// The handshake as it comes in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handshake {
    has_version: bool,
    lines: usize,
    mechanisms: PasswordMechanisms,
}

impl Handshake {
    /// Takes a line; the mechanisms once it is the last one.
    ///
    /// # Errors
    /// [`Fault`]; the connection is of no use.
    pub fn take(&mut self, line: &ServerLine) -> Result<Option<PasswordMechanisms>, Fault> {
        self.lines = self.lines.saturating_add(1);
        if self.lines > HANDSHAKE_LINES_MAX {
            return Err(Fault::Handshake);
        }
        match line {
            ServerLine::Version(1) => self.has_version = true,
            ServerLine::Mechanism(name) => match PasswordMechanism::of(name) {
                Some(PasswordMechanism::Plain) => self.mechanisms.plain = true,
                Some(PasswordMechanism::Login) => self.mechanisms.login = true,
                None => {}
            },
            ServerLine::Done if self.has_version => return Ok(Some(self.mechanisms)),
            ServerLine::Version(_) | ServerLine::Done => return Err(Fault::Version),
            ServerLine::Other => {}
            ServerLine::Answer(..) => return Err(Fault::Line),
        }
        Ok(None)
    }
}

/// What the client says first; the number tells this connection from the others.
pub fn hello(connection_number: u32) -> String {
    format!("VERSION\t1\t2\nCPID\t{connection_number}\n")
}

/// One login to be verified.
#[derive(Clone, Debug)]
pub struct Request {
    /// The number that its answer will carry.
    pub id: u32,
    /// The client's address.
    pub remote: SocketAddr,
    /// Our address, when it is known.
    pub local: Option<SocketAddr>,
    /// Whether the client's session is in TLS.
    pub is_secured: bool,
    /// Who the client says it is.
    pub credentials: Credentials,
}

impl Request {
    /// The line that asks.
    pub fn to_line(&self) -> Secret {
        let mut line = format!(
            "AUTH\t{}\t{}\tservice=smtp\tnologin",
            self.id,
            self.credentials.mechanism.name()
        );
        if let Some(local) = self.local {
            let _ = write!(line, "\tlip={}\tlport={}", local.ip(), local.port());
        }
        let _ = write!(line, "\trip={}\trport={}", self.remote.ip(), self.remote.port());
        if self.is_secured {
            line.push_str("\tsecured");
        }
        // The response must be the last parameter.
        if self.credentials.mechanism == PasswordMechanism::Plain {
            line.push_str("\tresp=");
            line.push_str(&base64::encode(self.credentials.to_plain().octets()));
        }
        line.push('\n');
        Secret::new(line.into_bytes())
    }

    /// The line that answers the challenge of that number, counted from zero.
    ///
    /// # Errors
    /// [`Fault::Challenge`].
    pub fn response(&self, challenge: usize) -> Result<Secret, Fault> {
        let response = match (self.credentials.mechanism, challenge) {
            (PasswordMechanism::Login, 0) => self.credentials.login.as_bytes(),
            (PasswordMechanism::Login, 1) => self.credentials.password.octets(),
            _ => return Err(Fault::Challenge),
        };
        Ok(Secret::new(
            format!("CONT\t{}\t{}\n", self.id, base64::encode(response)).into_bytes(),
        ))
    }
}

/// Reads a line of the service, without its end.
///
/// # Errors
/// [`Fault::Line`].
pub fn read_line(line: &[u8]) -> Result<ServerLine, Fault> {
    let text = std::str::from_utf8(line).map_err(|_| Fault::Line)?;
    let mut words = text.split('\t');
    let command = words.next().unwrap_or_default();
    if command.is_empty() || !command.bytes().all(|octet| octet.is_ascii_uppercase() || octet == b'_') {
        return Err(Fault::Line);
    }
    let mut next = || words.next().ok_or(Fault::Line);
    let number = |word: &str| word.parse::<u32>().map_err(|_| Fault::Line);
    Ok(match command {
        "VERSION" => ServerLine::Version(number(next()?)?),
        "MECH" => ServerLine::Mechanism(next()?.to_owned()),
        "DONE" => ServerLine::Done,
        "OK" => {
            let id = number(next()?)?;
            ServerLine::Answer(id, Answer::Right(parameter(words, "user")))
        }
        "FAIL" => {
            let id = number(next()?)?;
            ServerLine::Answer(id, Answer::Wrong(refusal(&words)))
        }
        "CONT" => ServerLine::Answer(number(next()?)?, Answer::Challenge),
        _ => ServerLine::Other,
    })
}

fn refusal<'a>(words: &(impl Iterator<Item = &'a str> + Clone)) -> Refusal {
    let reason = parameter(words.clone(), "reason").map(|reason| printable(&reason));
    match parameter(words.clone(), "code").as_deref() {
        Some("user_disabled") => Refusal::Disabled,
        Some("pass_expired") => Refusal::Expired,
        Some("temp_fail") => Refusal::Temporary(reason),
        _ if words.clone().any(|word| word == "temp") => Refusal::Temporary(reason),
        _ if words.clone().any(|word| word == "user_disabled") => Refusal::Disabled,
        _ if words.clone().any(|word| word == "pass_expired") => Refusal::Expired,
        _ => Refusal::Credentials(reason),
    }
}

/// The value of `name=`, its escapes undone.
fn parameter<'a>(mut words: impl Iterator<Item = &'a str>, name: &str) -> Option<String> {
    let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    let mut out = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        out.push(match c {
            '\u{1}' => match characters.next()? {
                '0' => '\0',
                '1' => '\u{1}',
                't' => '\t',
                'r' => '\r',
                'n' => '\n',
                other => other,
            },
            c => c,
        });
    }
    Some(out)
}

/// A text for a reply: ASCII on one line, of bounded length.
fn printable(text: &str) -> String {
    let safe = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    text.chars().take(REASON_CHARACTERS_MAX).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(message: &[u8], mechanism: PasswordMechanism) -> Request {
        Request {
            id: 7,
            remote: "[2001:db8::1]:4000".parse().unwrap(),
            local: Some("192.0.2.1:587".parse().unwrap()),
            is_secured: true,
            credentials: Credentials {
                mechanism,
                ..Credentials::of_plain(message).unwrap()
            },
        }
    }

    #[test]
    fn plain_is_asked_in_one_line_and_login_in_three() {
        let plain = request(b"\0tim\0secret", PasswordMechanism::Plain);
        let expected = "AUTH\t7\tPLAIN\tservice=smtp\tnologin\tlip=192.0.2.1\tlport=587\trip=2001:db8::1\trport=4000\tsecured\tresp=AHRpbQBzZWNyZXQ=\n";
        assert_eq!(plain.to_line().octets(), expected.as_bytes());
        assert_eq!(plain.response(0), Err(Fault::Challenge));
        let login = request(b"\0tim\0secret", PasswordMechanism::Login);
        assert!(login.to_line().octets().ends_with(b"\tsecured\n"));
        assert_eq!(login.response(0).unwrap().octets(), b"CONT\t7\tdGlt\n");
        assert_eq!(login.response(1).unwrap().octets(), b"CONT\t7\tc2VjcmV0\n");
        assert_eq!(login.response(2), Err(Fault::Challenge));
    }

    #[test]
    fn handshake_of_a_dovecot_tells_the_mechanisms_in_common() {
        let mut handshake = Handshake::default();
        let lines = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tCRAM-MD5\tdictionary\nSPID\t1\nCUID\t2\nCOOKIE\tabc";
        for line in lines.split('\n') {
            let line = read_line(line.as_bytes()).unwrap();
            assert_eq!(handshake.take(&line), Ok(None), "{line:?}");
        }
        let mechanisms = handshake.take(&ServerLine::Done).unwrap().unwrap();
        assert_eq!(mechanisms.names().collect::<Vec<_>>(), ["PLAIN"]);
    }

    #[test]
    fn handshake_of_something_else_is_a_fault() {
        let fresh = Handshake::default;
        assert_eq!(fresh().take(&ServerLine::Version(2)), Err(Fault::Version));
        assert_eq!(fresh().take(&ServerLine::Done), Err(Fault::Version));
        let early = ServerLine::Answer(1, Answer::Right(None));
        assert_eq!(fresh().take(&early), Err(Fault::Line));
        let mut endless = fresh();
        let last = (0..1000).find_map(|_| endless.take(&ServerLine::Other).err());
        assert_eq!(last, Some(Fault::Handshake));
    }

    #[test]
    fn answers_are_read_with_their_reasons() {
        let read = |line: &str| match read_line(line.as_bytes()) {
            Ok(ServerLine::Answer(3, answer)) => answer,
            other => panic!("{other:?}"),
        };
        assert_eq!(read("OK\t3\tuser=tim\u{1}tx"), Answer::Right(Some("tim\tx".into())));
        assert_eq!(read("OK\t3"), Answer::Right(None));
        assert_eq!(read("CONT\t3\tUGFzc3dvcmQ6"), Answer::Challenge);
        for (line, refusal) in [
            ("FAIL\t3\tuser=tim", Refusal::Credentials(None)),
            (
                "FAIL\t3\treason=no\u{1}nway\u{e9}",
                Refusal::Credentials(Some("no?way?".into())),
            ),
            ("FAIL\t3\tuser=tim\ttemp", Refusal::Temporary(None)),
            (
                "FAIL\t3\tcode=temp_fail\treason=db",
                Refusal::Temporary(Some("db".into())),
            ),
            ("FAIL\t3\tcode=user_disabled", Refusal::Disabled),
            ("FAIL\t3\tuser_disabled", Refusal::Disabled),
            ("FAIL\t3\tcode=pass_expired", Refusal::Expired),
        ] {
            assert_eq!(read(line), Answer::Wrong(refusal), "{line}");
        }
    }

    #[test]
    fn garbage_is_a_fault() {
        for line in [
            "",
            "220 hello",
            "OK",
            "OK\t-1",
            "OK\tx",
            "FAIL\t99999999999",
            "ok\t1",
            "VERSION\tone",
            "MECH",
            "\u{0}",
        ] {
            assert_eq!(read_line(line.as_bytes()), Err(Fault::Line), "{line:?}");
        }
        assert_eq!(read_line(b"OK\t1\tuser=\xff"), Err(Fault::Line));
    }
}
