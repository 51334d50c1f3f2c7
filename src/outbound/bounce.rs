//! The bounce: a multipart/report that tells the reverse-path what could not be delivered, or waits long.
//!
//! **Implements** RFC 3462 (multipart/report), RFC 3464 (message/delivery-status), RFC 3834 (Auto-Submitted), RFC 5321
//! section 6.1.
//! **Does not** bounce to the null reverse-path: a [`Mailbox`] is asked for, and there is none in it.

use std::fmt::Write as _;
use std::time::Duration;

use crate::mail::envelope::Body;
use crate::mail::outcome::Report;
use crate::mail::queue_id::QueueId;
use crate::time::{Now, Timestamp};
use crate::wire::path::{ForwardPath, Mailbox};

/// Where a line of our own is folded, octets.
const FOLD_OCTETS: usize = 76;
/// The most characters of one reply that are quoted.
const DIAGNOSTIC_CHARACTERS_MAX: usize = 2000;

/// As much of the undelivered message as is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original<'a> {
    /// Its header only (text/rfc822-headers).
    Headers(&'a [u8]),
    /// All of it (message/rfc822).
    Full(&'a [u8]),
}

impl<'a> Original<'a> {
    /// What fits into `octets_max` of a message whose first octets, at least that many if it has them, are `start` and
    /// which is `size_octets` long: all of it, or whole lines of its header. The second value tells whether anything
    /// of it is left out.
    pub fn of(start: &'a [u8], size_octets: u64, octets_max: usize) -> (Self, bool) {
        let is_whole = usize::try_from(size_octets).is_ok_and(|size| size == start.len() && size <= octets_max);
        if is_whole {
            return (Self::Full(start), false);
        }
        (Self::header_of(start, octets_max), true)
    }

    /// The whole lines of its header that fit into `octets_max`, of a message that begins like this.
    pub fn header_of(start: &'a [u8], octets_max: usize) -> Self {
        let header_end = memchr::memmem::find(start, b"\r\n\r\n").map_or(start.len(), |at| at.saturating_add(2));
        let header = start.get(..header_end.min(octets_max)).unwrap_or(start);
        let line_end = memchr::memrchr(b'\n', header).map_or(0, |at| at.saturating_add(1));
        Self::Headers(header.get(..line_end).unwrap_or_default())
    }

    const fn octets(&self) -> &'a [u8] {
        match self {
            Self::Headers(octets) | Self::Full(octets) => octets,
        }
    }

    const fn media_type(&self) -> &'static str {
        match self {
            Self::Headers(_) => "text/rfc822-headers",
            Self::Full(_) => "message/rfc822",
        }
    }
}

/// What the sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The recipients will not get the message.
    Failed,
    /// They have not got it yet (`delay_warning_time`).
    Delayed {
        /// When it is given up.
        retried_until: Timestamp,
        /// `delay_warning_time`.
        after: Duration,
    },
}

/// What a bounce tells.
#[derive(Clone, Copy, Debug)]
pub struct Bounce<'a> {
    /// `myhostname`.
    pub myhostname: &'a str,
    /// The queue id of the bounce itself: names its Message-ID and boundary.
    pub id: QueueId,
    /// The queue id of the undelivered message.
    pub original_id: QueueId,
    /// When that came in.
    pub arrived: Timestamp,
    /// Its reverse-path, the recipient of the bounce.
    pub to: &'a Mailbox,
    /// Whether they failed or wait.
    pub notice: Notice,
    /// The recipients it is about, one or more.
    pub recipients: &'a [(ForwardPath, Report)],
    /// What is returned of it.
    pub original: Original<'a>,
    /// Whether something of it is left out.
    pub truncated: bool,
    /// The time.
    pub now: Now,
}

impl Bounce<'_> {
    /// The body type to queue it with.
    pub fn body(&self) -> Body {
        if self.original.octets().is_ascii() {
            Body::SevenBit
        } else {
            Body::EightBitMime
        }
    }

    /// The message; every line ends in CRLF.
    pub fn to_message(&self) -> Vec<u8> {
        let words = self.words();
        let status = self.delivery_status();
        let original = crlf_lines(self.original.octets());
        let boundary = self.boundary(&original);
        let mut out = self.header(&boundary);
        push_part(
            &mut out,
            &boundary,
            "Notification",
            "text/plain; charset=us-ascii",
            "7bit",
        );
        out.push_str(&words);
        push_part(
            &mut out,
            &boundary,
            "Delivery report",
            "message/delivery-status",
            "7bit",
        );
        out.push_str(&status);
        let description = match self.original {
            Original::Full(_) => "Undelivered message",
            Original::Headers(_) => "Undelivered message headers",
        };
        push_part(
            &mut out,
            &boundary,
            description,
            self.original.media_type(),
            self.encoding(),
        );
        let mut out = out.into_bytes();
        out.extend_from_slice(&original);
        out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        out
    }

    /// RFC 2045 section 6.4: a composite part needs 8bit when a part of it does.
    fn encoding(&self) -> &'static str {
        match self.body() {
            Body::SevenBit => "7bit",
            Body::EightBitMime => "8bit",
        }
    }

    /// A boundary that the returned message does not contain; our own parts cannot, for every line of theirs that starts
    /// with `--` would have to come from a folded reply, and those are indented.
    fn boundary(&self, original: &[u8]) -> String {
        let stem = format!("{}.{}", self.id, self.now.wall.seconds());
        // More candidates than octets: not all of them can stand in the message.
        (0..=original.len())
            .map(|number| format!("{stem}.{number}"))
            .find(|boundary| memchr::memmem::find(original, boundary.as_bytes()).is_none())
            .unwrap_or(stem)
    }

    fn header(&self, boundary: &str) -> String {
        let date = self.now.wall.rfc5322(self.now.utc_offset_seconds);
        let host = self.myhostname;
        let subject = match self.notice {
            Notice::Failed => "Undelivered Mail Returned to Sender",
            Notice::Delayed { .. } => "Delayed Mail (still being retried)",
        };
        let mut out = String::new();
        for line in [
            format!("Date: {date}"),
            format!("From: Mail Delivery System <MAILER-DAEMON@{host}>"),
            format!("To: {}", self.to),
            format!("Subject: {subject}"),
            format!("Message-ID: <{}@{host}>", self.id),
            "Auto-Submitted: auto-replied".into(),
            "MIME-Version: 1.0".into(),
            format!("Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\""),
            format!("Content-Transfer-Encoding: {}", self.encoding()),
            String::new(),
            "This is a MIME-encapsulated message.".into(),
        ] {
            out.push_str(&line);
            out.push_str("\r\n");
        }
        out
    }

    fn words(&self) -> String {
        let mut out = format!("This is the mail system at host {}.\r\n\r\n", self.myhostname);
        match self.notice {
            Notice::Failed => out.push_str(&format!(
                "I'm sorry to have to inform you that your message could not\r\n\
                 be delivered to one or more recipients. {}\r\n",
                if self.truncated {
                    "Its header is\r\nattached below."
                } else {
                    "It is attached below."
                },
            )),
            Notice::Delayed { retried_until, after } => out.push_str(&self.warning(retried_until, after)),
        }
        out.push_str("\r\nFor further assistance, please send mail to postmaster.\r\n");
        for (path, report) in self.recipients {
            let said = match (report.from_remote, report.remote.is_empty()) {
                (true, false) => format!("host {} said: {}", report.remote, report.text),
                _ => report.text.clone(),
            };
            out.push_str("\r\n");
            push_folded(&mut out, &format!("<{path}>: {said}"), "    ");
        }
        out
    }

    fn warning(&self, retried_until: Timestamp, after: Duration) -> String {
        let lifetime = retried_until.since(self.arrived);
        let until = retried_until.rfc5322(self.now.utc_offset_seconds);
        let line = "#".repeat(68);
        format!(
            "{line}\r\n\
             # THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\r\n\
             {line}\r\n\r\n\
             Your message could not be delivered for more than {}.\r\n\
             It will be retried until it is {} old,\r\n\
             on {until}. Its header is attached below.\r\n",
            in_words(after),
            in_words(lifetime),
        )
    }

    fn delivery_status(&self) -> String {
        let offset = self.now.utc_offset_seconds;
        let mut out = format!("Reporting-MTA: dns; {}\r\n", self.myhostname);
        let _ = write!(out, "X-Estafette-Queue-ID: {}\r\n", self.original_id);
        let _ = write!(out, "Arrival-Date: {}\r\n", self.arrived.rfc5322(offset));
        for (path, report) in self.recipients {
            let recipient = match path {
                ForwardPath::Postmaster => format!("postmaster@{}", self.myhostname),
                ForwardPath::Mailbox(mailbox) => mailbox.to_string(),
            };
            let _ = write!(out, "\r\nFinal-Recipient: rfc822; {recipient}\r\n");
            let action = match self.notice {
                Notice::Failed => "failed",
                Notice::Delayed { .. } => "delayed",
            };
            let _ = write!(out, "Action: {action}\r\nStatus: {}\r\n", printable(&report.status));
            let remote = report.remote.split('[').next().unwrap_or_default();
            if !remote.is_empty() {
                let _ = write!(out, "Remote-MTA: dns; {}\r\n", printable(remote));
            }
            let kind = if report.from_remote { "smtp" } else { "x-estafette" };
            push_folded(&mut out, &format!("Diagnostic-Code: {kind}; {}", report.text), "    ");
            if let Notice::Delayed { retried_until, .. } = self.notice {
                let _ = write!(out, "Will-Retry-Until: {}\r\n", retried_until.rfc5322(offset));
            }
        }
        out
    }
}

/// A time in its largest whole unit, rounded down: `5 day(s)`, as Postfix writes it.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "day(s)"), (3600, "hour(s)"), (60, "minute(s)")];
    let unit = units.into_iter().find(|(length, _)| seconds >= *length);
    let (length, name) = unit.unwrap_or((1, "second(s)"));
    format!("{} {name}", seconds / length)
}

fn push_part(out: &mut String, boundary: &str, description: &str, media_type: &str, encoding: &str) {
    let _ = write!(
        out,
        "\r\n--{boundary}\r\nContent-Description: {description}\r\nContent-Type: {media_type}\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n"
    );
}

/// Printable ASCII as it is, everything else as `?`: a reply can neither end a line nor leave ASCII.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .collect()
}

/// Adds a text in lines of about [`FOLD_OCTETS`], broken at spaces, or anywhere in a word longer than a line may be; lines
/// after the first begin with `indent`.
fn push_folded(out: &mut String, text: &str, indent: &str) {
    let text: String = printable(text).chars().take(DIAGNOSTIC_CHARACTERS_MAX).collect();
    let mut column = 0_usize;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if column > 0 && column.saturating_add(word.len()) >= FOLD_OCTETS {
            out.push_str("\r\n");
            out.push_str(indent);
            column = indent.len();
        } else if column > 0 {
            out.push(' ');
            column = column.saturating_add(1);
        }
        for letter in word.chars() {
            // RFC 5322 section 2.1.1: a line must be no more than 998 characters.
            if column >= 900 {
                out.push_str("\r\n");
                out.push_str(indent);
                column = indent.len();
            }
            out.push(letter);
            column = column.saturating_add(1);
        }
    }
    out.push_str("\r\n");
}

/// The octets with every line ended by CRLF, whatever ended it before.
fn crlf_lines(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len().saturating_add(2));
    let mut previous = b'\n';
    for &octet in octets {
        match octet {
            b'\n' if previous == b'\r' => {}
            b'\r' | b'\n' => out.extend_from_slice(b"\r\n"),
            _ => out.push(octet),
        }
        previous = octet;
    }
    if !matches!(previous, b'\r' | b'\n') {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n";

    #[test]
    fn original_that_fits_is_whole_and_one_that_does_not_is_its_header() {
        let size = HEADER.len();
        let octets = u64::try_from(size).unwrap();
        assert_eq!(Original::of(HEADER, octets, size), (Original::Full(HEADER), false));
        let header = &HEADER[..size - 8];
        assert_eq!(Original::of(HEADER, 10_000, size), (Original::Headers(header), true));
        assert_eq!(
            Original::of(HEADER, octets, 25),
            (Original::Headers(&HEADER[..21]), true)
        );
        assert_eq!(Original::of(HEADER, octets, 5), (Original::Headers(b""), true));
    }

    #[test]
    fn folded_reply_cannot_leave_its_field() {
        let mut out = String::new();
        push_folded(
            &mut out,
            &format!("X: 550 a\r\n\r\n--b \u{e9} {}", "y".repeat(1500)),
            "    ",
        );
        let lines: Vec<&str> = out.trim_end().split("\r\n").collect();
        assert_eq!(lines[0], "X: 550 a????--b ?");
        assert!(
            lines[1..]
                .iter()
                .all(|line| line.starts_with("    y") && line.len() <= 998)
        );
    }

    #[test]
    fn lines_of_any_end_leave_with_crlf() {
        assert_eq!(crlf_lines(b"a\nb\rc\r\n\r\nd"), b"a\r\nb\r\nc\r\n\r\nd\r\n");
        assert_eq!(crlf_lines(b""), b"");
    }
}
