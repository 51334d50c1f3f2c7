//! One dialogue, held with Postfix, and where its answers are not those of the file.
//!
//! **Does not** look into Postfix's queue: replies are compared, not what becomes of the messages.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

use crate::common::client::Client;
use crate::script::{Script, Step, matches};

/// How long a reply may take that never comes.
const SILENCE: Duration = Duration::from_secs(6);

/// What stands where a reply would.
const ENDS: &str = "(ends the connection)";
const SILENT: &str = "(says nothing)";

/// What was heard of both sides, where it is not the same.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Difference {
    /// A reply, the addresses in it left out.
    Reply { ours: String, postfix: String },
    /// A line of the answer to EHLO that Postfix alone has.
    AnnouncedByPostfix(String),
    /// One that we alone have.
    AnnouncedByUs(String),
}

struct Conversation<'a> {
    script: &'a Script,
    certificates: &'a std::path::Path,
    client: Client,
    /// What was sent last.
    sent: &'a [u8],
    found: Vec<Difference>,
}

/// Holds a dialogue, up to where Postfix leaves it.
pub(crate) fn hold(script: &Script, address: SocketAddr, certificates: &std::path::Path) -> Vec<Difference> {
    let (_, Step::Connect(peer)) = &script.steps[0] else {
        panic!("{}: the first step connects", script.name);
    };
    let mut conversation = Conversation {
        script,
        certificates,
        client: connect(address, *peer).unwrap_or_else(|error| panic!("{}: {error}", script.name)),
        sent: &[],
        found: Vec::new(),
    };
    let mut steps = script.steps[1..].iter().map(|(_, step)| step).peekable();
    while let Some(step) = steps.next() {
        let goes_on = if let Step::Server(line) = step {
            let mut reply = vec![line.as_str()];
            while reply.last().is_some_and(|line| line.as_bytes().get(3) == Some(&b'-'))
                && let Some(Step::Server(line)) = steps.peek()
            {
                reply.push(line);
                steps.next();
            }
            conversation.hear(&reply)
        } else {
            let after;
            (conversation, after) = conversation.step(step);
            after
        };
        if !goes_on {
            break;
        }
    }
    conversation.found
}

/// Tells Postfix in a PROXY header who is talking.
fn connect(address: SocketAddr, peer: IpAddr) -> io::Result<Client> {
    let mut client = Client::connect_silently(address)?;
    client.tcp().set_read_timeout(Some(SILENCE))?;
    let (family, here) = match peer {
        IpAddr::V4(_) => ("TCP4", "192.0.2.1"),
        IpAddr::V6(_) => ("TCP6", "2001:db8::1"),
    };
    client.write(format!("PROXY {family} {peer} {here} 40000 25\r\n").as_bytes())?;
    Ok(client)
}

impl<'a> Conversation<'a> {
    /// Whether there is any sense in going on.
    fn step(mut self, step: &'a Step) -> (Self, bool) {
        match step {
            Step::Client(octets) => {
                self.sent = octets;
                // What Postfix says to octets that it does not take is read all the same.
                let _ = self.client.write(octets);
            }
            Step::Eof => drop(self.client.finish()),
            Step::Closed => self.expect_end(),
            Step::Tls(name) => return self.handshake(name),
            // The queue's side of the dialogue, and time, which passes by itself.
            _ => {}
        }
        (self, true)
    }

    fn handshake(mut self, name: &str) -> (Self, bool) {
        let shown = match name {
            "none" => None,
            "unknown-issuer" => Some("rogue"),
            other => Some(other),
        };
        match self.client.handshake(self.certificates, shown) {
            Ok(client) => {
                self.client = client;
                (self, true)
            }
            Err(error) => panic!("{}: no handshake with Postfix: {error}", self.script.name),
        }
    }

    /// Reads a reply and compares it.
    fn hear(&mut self, ours: &[&str]) -> bool {
        let theirs = match self.read_reply() {
            Ok(lines) => lines,
            Err(end) => {
                self.differ(&ours.join(" / "), end);
                return false;
            }
        };
        if ours.len() > 1 && theirs.len() > 1 {
            self.compare_announcements(ours, &theirs);
            return true;
        }
        let (ours, theirs) = (
            REFERENCE.replace(&ours.join(" / "), "").into_owned(),
            theirs.join(" / "),
        );
        if !matches(&ours, &theirs) {
            self.differ(&ours, &theirs);
        }
        self.can_go_on(&ours, &theirs)
    }

    /// Whether what follows can be compared. Where Postfix alone has taken MAIL, it is told to forget that.
    fn can_go_on(&mut self, ours: &str, theirs: &str) -> bool {
        let class = |text: &str| text.as_bytes().first().copied();
        if self.sent.starts_with(b"MAIL") && class(ours) == Some(b'5') && class(theirs) == Some(b'2') {
            let told = self.client.write(b"RSET\r\n");
            return told.is_ok() && self.read_reply().is_ok();
        }
        let differs = |code: &str| ours.starts_with(code) != theirs.starts_with(code);
        !["354", "221", "421"].into_iter().any(differs)
    }

    fn compare_announcements(&mut self, ours: &[&str], theirs: &[String]) {
        let text = |line: &str| line.get(4..).unwrap_or_default().to_owned();
        let ours: Vec<String> = ours.iter().map(|line| text(line)).collect();
        let mut theirs: Vec<String> = theirs.iter().map(|line| text(line)).collect();
        for line in ours {
            match theirs.iter().position(|their| matches(&line, their)) {
                Some(at) => drop(theirs.remove(at)),
                None => self.found.push(Difference::AnnouncedByUs(line)),
            }
        }
        self.found
            .extend(theirs.into_iter().map(Difference::AnnouncedByPostfix));
    }

    fn differ(&mut self, ours: &str, postfix: &str) {
        let general = |text: &str| {
            ADDRESS
                .replace_all(&REFERENCE.replace(text, ""), "<address>")
                .into_owned()
        };
        let postfix = QUEUE_ID.replace(postfix, "queued as *");
        eprintln!(
            "DIFF {} {:?} OURS {ours} THEIRS {postfix}",
            self.script.name,
            String::from_utf8_lossy(&self.sent[..self.sent.len().min(120)])
        );
        self.found.push(Difference::Reply {
            ours: general(ours),
            postfix: general(&postfix),
        });
    }

    fn read_reply(&mut self) -> Result<Vec<String>, &'static str> {
        let mut lines = Vec::new();
        loop {
            let line = self.client.read_line().map_err(|error| what_ended(&error))?;
            lines.push(line.trim_end_matches(['\r', '\n']).to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(lines);
            }
        }
    }

    fn expect_end(&mut self) {
        match self.read_reply() {
            Ok(more) => self.differ(ENDS, &more.join(" / ")),
            Err(SILENT) => self.differ(ENDS, "(waits for more)"),
            Err(_) => {}
        }
    }
}

fn what_ended(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => SILENT,
        _ => ENDS,
    }
}

/// The reference of a decision, which Postfix has not.
static REFERENCE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r" \[ref [^\]]*\]").expect("a regular expression"));

static ADDRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new("<[^<>]*@[^<>]*>").expect("a regular expression"));

static QUEUE_ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"queued as \w+").expect("a regular expression"));
