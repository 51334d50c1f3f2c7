//! The bounce: a multipart/report that tells the reverse-path what could not be delivered, waits long, or was relayed.
//!
//! **Implements** RFC 3462 (multipart/report), RFC 3464 (message/delivery-status), RFC 3834 (Auto-Submitted), RFC 5321
//! section 6.1, RFC 6533 (addresses and headers in UTF-8: in UTF-8 for a sender whose own address is, and otherwise in ASCII).
//! **Does not** bounce to the null reverse-path: a [`Mailbox`] is asked for, and there is none in it.

use std::fmt::Write as _;
use std::time::Duration;

use super::notice_text::{
    Letters, in_words, original_recipient, printable, push_field, push_folded, recipient_address, xtext_decoded,
};
use super::original::Original;
use crate::mail::downgrade::encoder::Encoder;
use crate::mail::dsn::RecipientRequest;
use crate::mail::envelope::Body;
use crate::mail::outcome::Report;
use crate::mail::queue_id::QueueId;
use crate::time::{Now, Timestamp};
use crate::wire::path::{ForwardPath, Mailbox};

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
    /// They were handed to hosts that tell nothing of themselves, and the sender asked for news of success.
    Relayed,
}

/// A recipient, and what the sender is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// RCPT TO.
    pub forward_path: ForwardPath,
    /// ORCPT is told as well.
    pub request: RecipientRequest,
    /// What became of it.
    pub report: Report,
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
    /// ENVID, in xtext.
    pub envelope_id: Option<&'a str>,
    /// Whether they failed, wait or were relayed.
    pub notice: Notice,
    /// The recipients it is about, one or more.
    pub recipients: &'a [Told],
    /// What is returned of it.
    pub original: Original<'a>,
    /// Whether something of it is left out.
    pub truncated: bool,
    /// The time.
    pub now: Now,
}

impl Bounce<'_> {
    /// Whether it needs SMTPUTF8, as its recipient's address does. RFC 6533 section 4: only then it speaks UTF-8 itself.
    pub fn is_utf8(&self) -> bool {
        !self.to.to_string().is_ascii()
    }

    fn letters(&self) -> Letters {
        if self.is_utf8() { Letters::Utf8 } else { Letters::Ascii }
    }

    /// The body type to queue it with.
    pub fn body(&self) -> Body {
        Body::SevenBit.with(self.is_utf8() || !self.words().is_ascii() || !self.returned().0.is_ascii())
    }

    /// The octets of the part that returns the message, and their encoding. A header in UTF-8 is packed up where the bounce
    /// itself must do without SMTPUTF8: RFC 6532 section 3.7 allows it for message/global.
    fn returned(&self) -> (Vec<u8>, &'static str) {
        let octets = crlf_lines(self.original.octets());
        if self.original.has_utf8_header() && !self.is_utf8() {
            let mut encoder = Encoder::new(false);
            let mut out = Vec::new();
            encoder.push(&octets, &mut out);
            encoder.finish(&mut out);
            out.extend_from_slice(b"\r\n");
            return (out, "base64");
        }
        let encoding = encoding(octets.is_ascii());
        (octets, encoding)
    }

    /// The message; every line ends in CRLF.
    pub fn to_message(&self) -> Vec<u8> {
        let words = self.words();
        let status = self.delivery_status();
        let (original, original_encoding) = self.returned();
        let boundary = self.boundary(&original);
        let mut out = self.header(&boundary);
        push_part(
            &mut out,
            &boundary,
            "Notification",
            if words.is_ascii() {
                "text/plain; charset=us-ascii"
            } else {
                "text/plain; charset=utf-8"
            },
            encoding(words.is_ascii()),
        );
        out.push_str(&words);
        push_part(
            &mut out,
            &boundary,
            "Delivery report",
            if self.is_utf8() {
                "message/global-delivery-status"
            } else {
                "message/delivery-status"
            },
            encoding(status.is_ascii()),
        );
        out.push_str(&status);
        let description = match self.original {
            _ if self.notice == Notice::Relayed => "Message headers",
            Original::Full(_) => "Undelivered message",
            Original::Headers(_) => "Undelivered message headers",
        };
        push_part(
            &mut out,
            &boundary,
            description,
            self.original.media_type(),
            original_encoding,
        );
        let mut out = out.into_bytes();
        out.extend_from_slice(&original);
        out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        out
    }

    /// RFC 2045 section 6.4: a composite part needs 8bit when a part of it does.
    fn encoding(&self) -> &'static str {
        encoding(self.body() == Body::SevenBit)
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
            Notice::Relayed => "Successful Mail Delivery Report",
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
            Notice::Relayed => out.push_str(
                "Your message was handed on to the destinations below. They do not report\r\n\
                 what becomes of it: if it cannot be delivered you may be told in another\r\n\
                 message. Its header is attached below.\r\n",
            ),
        }
        out.push_str("\r\nFor further assistance, please send mail to postmaster.\r\n");
        for Told {
            forward_path: path,
            report,
            ..
        } in self.recipients
        {
            let said = match (report.from_remote, report.remote.is_empty()) {
                (true, false) => format!("host {} said: {}", report.remote, report.text),
                _ => report.text.clone(),
            };
            out.push_str("\r\n");
            push_folded(&mut out, &format!("<{path}>: {said}"), "    ", Letters::Utf8);
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
        let mut out = String::new();
        if let Some(id) = self.envelope_id {
            let _ = write!(out, "Original-Envelope-Id: {}\r\n", printable(&xtext_decoded(id)));
        }
        let _ = write!(out, "Reporting-MTA: dns; {}\r\n", self.myhostname);
        let _ = write!(out, "X-Estafette-Queue-ID: {}\r\n", self.original_id);
        let _ = write!(out, "Arrival-Date: {}\r\n", self.arrived.rfc5322(offset));
        let letters = self.letters();
        for Told {
            forward_path,
            request,
            report,
        } in self.recipients
        {
            out.push_str("\r\n");
            if let Some(original) = &request.original_recipient {
                let original = original_recipient(original, letters);
                push_field(&mut out, &format!("Original-Recipient: {original}"), letters);
            }
            let recipient = recipient_address(forward_path, self.myhostname, letters);
            push_field(&mut out, &format!("Final-Recipient: {recipient}"), letters);
            let action = match self.notice {
                Notice::Failed => "failed",
                Notice::Delayed { .. } => "delayed",
                Notice::Relayed => "relayed",
            };
            let _ = write!(out, "Action: {action}\r\nStatus: {}\r\n", printable(&report.status));
            let remote = report.remote.split('[').next().unwrap_or_default();
            if !remote.is_empty() {
                let _ = write!(out, "Remote-MTA: dns; {}\r\n", printable(remote));
            }
            let kind = if report.from_remote { "smtp" } else { "x-estafette" };
            push_folded(
                &mut out,
                &format!("Diagnostic-Code: {kind}; {}", report.text),
                "    ",
                letters,
            );
            if let Notice::Delayed { retried_until, .. } = self.notice {
                let _ = write!(out, "Will-Retry-Until: {}\r\n", retried_until.rfc5322(offset));
            }
        }
        out
    }
}

const fn encoding(is_ascii: bool) -> &'static str {
    if is_ascii { "7bit" } else { "8bit" }
}

fn push_part(out: &mut String, boundary: &str, description: &str, media_type: &str, encoding: &str) {
    let _ = write!(
        out,
        "\r\n--{boundary}\r\nContent-Description: {description}\r\nContent-Type: {media_type}\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n"
    );
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

    #[test]
    fn lines_of_any_end_leave_with_crlf() {
        assert_eq!(crlf_lines(b"a\nb\rc\r\n\r\nd"), b"a\r\nb\r\nc\r\n\r\nd\r\n");
        assert_eq!(crlf_lines(b""), b"");
    }
}
