//! What one filter changes at the end of a message, kept apart until it has spoken its verdict.
//!
//! **Does not** write what could smuggle: lines of a new body end in CRLF, whatever the filter sent.

use super::failure::Failure;
use super::message::Message;
use super::spool::Spool;
use crate::mail::dsn::{MessageRequest, RecipientRequest};
use crate::mail::dsn_parameters::{is_envelope_id, notify_of, original_recipient_of, return_of};
use crate::mail::header_edit::Lead;
use crate::mail::header_fields::Header;
use crate::session::filter::{EnvelopeChanges, RecipientChange};
use crate::wire::milter::options::{Actions, Negotiation, Steps};
use crate::wire::milter::response::Change;
use crate::wire::path::{ForwardPath, ReversePath};

/// Changes of one filter to one message, at most; pieces of a body do not count.
const CHANGES_MAX: usize = 10_000;
/// How much of a reason for a quarantine is kept.
const REASON_CHARACTERS_MAX: usize = 200;

/// Changes of one filter.
pub struct Changes {
    header: Header,
    body: Option<Spool>,
    ends: LineEnds,
    envelope: EnvelopeChanges,
    count: usize,
    lead: Lead,
    actions: Actions,
    octets_max: u64,
}

impl Changes {
    /// None yet, of a filter that negotiated so much; a body that it puts in place of the message's has so many octets at most,
    /// unless that is 0.
    pub fn new(message: &Message, agreed: &Negotiation, octets_max: u64) -> Self {
        let lead = if agreed.steps.has(Steps::LEADING_SPACE) {
            Lead::Given
        } else {
            Lead::Blank
        };
        Self {
            header: message.header.clone(),
            body: None,
            ends: LineEnds::default(),
            envelope: EnvelopeChanges::default(),
            count: 0,
            lead,
            actions: agreed.actions,
            octets_max,
        }
    }

    /// Takes one change.
    ///
    /// # Errors
    /// [`Failure`]: the filter asks for what cannot be, or the spool fails.
    pub async fn take(&mut self, change: Change, message: &Message) -> Result<(), Failure> {
        self.check(&change)?;
        if let Change::ReplaceBody(octets) = change {
            return self.replace(&octets, message).await;
        }
        self.count = self.count.saturating_add(1);
        if self.count > CHANGES_MAX {
            return Err(Failure::TooManyChanges(CHANGES_MAX));
        }
        match change {
            Change::AddHeader { name, value } => self.header.add(&name, &value, self.lead)?,
            Change::InsertHeader { index, name, value } => {
                self.header.insert(place(index), &name, &value, self.lead)?;
            }
            Change::ChangeHeader { index, name, value } => {
                self.header.change(place(index), &name, &value, self.lead)?;
            }
            Change::AddRecipient { path, parameters } => {
                let path = forward_path(&path)?;
                let request = recipient_request(parameters.as_deref().unwrap_or_default(), &path)?;
                self.envelope.recipients.push(RecipientChange::Add(path, request));
            }
            Change::DeleteRecipient(path) => {
                let removed = RecipientChange::Remove(forward_path(&path)?);
                self.envelope.recipients.push(removed);
            }
            Change::ReversePath { path, parameters } => {
                let parsed = ReversePath::parse(&bracketed(&path));
                self.envelope.reverse_path = Some(parsed.map_err(|_| Failure::Address(path))?);
                message_request(parameters.as_deref().unwrap_or_default(), &mut self.envelope.dsn)?;
            }
            Change::Quarantine(reason) => self.envelope.hold = Some(in_a_line(&reason)),
            Change::ReplaceBody(_) => {}
        }
        Ok(())
    }

    /// Only what was negotiated is changed.
    fn check(&self, change: &Change) -> Result<(), Failure> {
        let (needed, name) = match change {
            Change::AddHeader { .. } => (Actions::ADD_HEADERS, "ADDHEADER"),
            Change::InsertHeader { .. } => (Actions::ADD_HEADERS, "INSHEADER"),
            Change::ChangeHeader { .. } => (Actions::CHANGE_HEADERS, "CHGHEADER"),
            Change::ReplaceBody(_) => (Actions::CHANGE_BODY, "REPLBODY"),
            Change::AddRecipient { parameters: None, .. } => (Actions::ADD_RECIPIENTS, "ADDRCPT"),
            Change::AddRecipient { .. } => (Actions::ADD_RECIPIENTS_WITH_PARAMETERS, "ADDRCPT_PAR"),
            Change::DeleteRecipient(_) => (Actions::DELETE_RECIPIENTS, "DELRCPT"),
            Change::ReversePath { .. } => (Actions::CHANGE_FROM, "CHGFROM"),
            Change::Quarantine(_) => (Actions::QUARANTINE, "QUARANTINE"),
        };
        if self.actions.has(needed) {
            Ok(())
        } else {
            Err(Failure::NotNegotiated(name))
        }
    }

    async fn replace(&mut self, octets: &[u8], message: &Message) -> Result<(), Failure> {
        let body = self.body.get_or_insert_with(|| message.new_body());
        body.append(&self.ends.take(octets)).await?;
        if self.octets_max > 0 && body.len_octets() > self.octets_max {
            return Err(Failure::BodyTooLarge);
        }
        Ok(())
    }

    /// Brings the changes into the message; what is left is the envelope's, with a few words for the log.
    ///
    /// # Errors
    /// [`Failure::Spool`].
    pub async fn apply(mut self, message: &mut Message) -> Result<(EnvelopeChanges, String), Failure> {
        let mut words = Vec::new();
        if message.header != self.header {
            words.push("header");
        }
        message.header = self.header;
        if let Some(mut body) = self.body.take() {
            body.append(&self.ends.finish()).await?;
            message.body = Some(body);
            words.push("body");
        }
        if self.envelope.reverse_path.is_some() {
            words.push("reverse_path");
        }
        if !self.envelope.recipients.is_empty() {
            words.push("recipients");
        }
        if self.envelope.hold.is_some() {
            words.push("hold");
        }
        Ok((self.envelope, words.join(", ")))
    }
}

fn place(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn bracketed(path: &str) -> String {
    let path = path.trim();
    if path.starts_with('<') {
        path.to_owned()
    } else {
        format!("<{path}>")
    }
}

fn forward_path(path: &str) -> Result<ForwardPath, Failure> {
    ForwardPath::parse(&bracketed(path)).map_err(|_| Failure::Address(path.to_owned()))
}

/// The key and the value of a parameter.
fn split(word: &str) -> Result<(&str, &str), Failure> {
    word.split_once('=').ok_or_else(|| Failure::Parameter(word.to_owned()))
}

/// NOTIFY and ORCPT of RFC 3461, each once; a filter may ask nothing else for a recipient.
fn recipient_request(parameters: &str, path: &ForwardPath) -> Result<RecipientRequest, Failure> {
    let is_utf8 = !path.to_string().is_ascii();
    let mut request = RecipientRequest::default();
    for word in parameters.split_ascii_whitespace() {
        let (key, value) = split(word)?;
        let is_taken = if key.eq_ignore_ascii_case("NOTIFY") {
            let notify = notify_of(value);
            notify.is_some() && std::mem::replace(&mut request.notify, notify).is_none()
        } else if key.eq_ignore_ascii_case("ORCPT") {
            let original = original_recipient_of(value, is_utf8);
            original.is_some() && std::mem::replace(&mut request.original_recipient, original).is_none()
        } else {
            false
        };
        if !is_taken {
            return Err(Failure::Parameter(word.to_owned()));
        }
    }
    Ok(request)
}

/// RET and ENVID of RFC 3461, which belong to the reverse-path. What else MAIL may carry is of the content, which the filter has
/// seen as it is: it is left as the client said it, as in Postfix.
fn message_request(parameters: &str, request: &mut MessageRequest) -> Result<(), Failure> {
    for word in parameters.split_ascii_whitespace() {
        let wrong = || Failure::Parameter(word.to_owned());
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        if key.eq_ignore_ascii_case("RET") {
            request.ret = Some(return_of(value).ok_or_else(wrong)?);
        } else if key.eq_ignore_ascii_case("ENVID") {
            let is_good = is_envelope_id(value);
            request.envelope_id = Some(is_good.then(|| value.to_owned()).ok_or_else(wrong)?);
        }
    }
    Ok(())
}

/// A reason that ends up in the log and in the list of the queue: one line of bounded length.
fn in_a_line(reason: &str) -> String {
    let safe = |c: char| if c.is_control() { '?' } else { c };
    reason.chars().take(REASON_CHARACTERS_MAX).map(safe).collect()
}

/// Makes every line end CRLF: a bare CR or LF that the next hop takes for a line end would let content pose as commands.
#[derive(Clone, Copy, Debug, Default)]
struct LineEnds {
    after_cr: bool,
    in_line: bool,
}

impl LineEnds {
    fn take(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(octets.len().saturating_add(octets.len() / 16));
        for octet in octets {
            if std::mem::take(&mut self.after_cr) {
                out.extend_from_slice(b"\r\n");
                self.in_line = false;
                if *octet == b'\n' {
                    continue;
                }
            }
            match *octet {
                b'\r' => self.after_cr = true,
                b'\n' => {
                    out.extend_from_slice(b"\r\n");
                    self.in_line = false;
                }
                plain => {
                    out.push(plain);
                    self.in_line = true;
                }
            }
        }
        out
    }

    fn finish(self) -> Vec<u8> {
        if self.after_cr || self.in_line {
            b"\r\n".to_vec()
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::dsn::{Notify, Return};

    #[test]
    fn lines_of_a_new_body_end_in_crlf_however_they_came() {
        for (sent, kept) in [
            (b"a\nb".as_slice(), b"a\r\nb\r\n".as_slice()),
            (b"a\r\nb\r\n", b"a\r\nb\r\n"),
            (b"a\n.\nQUIT\r.\r\n", b"a\r\n.\r\nQUIT\r\n.\r\n"),
            (b"a\r\r\nb\r", b"a\r\n\r\nb\r\n"),
            (b"", b""),
        ] {
            for piece in 1..=sent.len().max(1) {
                let mut ends = LineEnds::default();
                let mut out: Vec<u8> = sent.chunks(piece).flat_map(|piece| ends.take(piece)).collect();
                out.extend(ends.finish());
                assert_eq!(out, kept, "{sent:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn parameters_of_an_added_recipient_are_read() {
        let path = forward_path("b@example.net").unwrap();
        let request = |parameters: &str| recipient_request(parameters, &path);
        let read = request("NOTIFY=success,DELAY orcpt=rfc822;a@b").unwrap();
        let notify = Some(Notify::On {
            success: true,
            failure: false,
            delay: true,
        });
        assert_eq!(read.notify, notify);
        assert_eq!(read.original_recipient.as_deref(), Some("rfc822;a@b"));
        // What a next hop would refuse the recipient for goes no further.
        for wrong in [
            "NOTIFY",
            "NOTIFY=x",
            "NOTIFY=NEVER,DELAY",
            "NOTIFY=DELAY,DELAY",
            "NOTIFY=NEVER NOTIFY=NEVER",
            "ORCPT=a@b",
            "ORCPT=;a@b",
            "ORCPT=rfc822;a+b",
            "ORCPT=rfc822;a+0Ab",
            "SIZE=1",
        ] {
            assert!(request(wrong).is_err(), "{wrong}");
        }
        let long = format!("ORCPT=rfc822;{}", "x".repeat(1000));
        assert!(request(&long).is_err());
    }

    #[test]
    fn parameters_of_a_new_reverse_path_are_read() {
        let mut read = MessageRequest::default();
        message_request("ret=HDRS ENVID=a+2Bb BODY=8BITMIME SMTPUTF8", &mut read).unwrap();
        assert_eq!(read.ret, Some(Return::Headers));
        assert_eq!(read.envelope_id.as_deref(), Some("a+2Bb"));
        for wrong in ["RET=x", "ENVID=", "ENVID=a+b", "RET"] {
            assert!(message_request(wrong, &mut read).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reason_of_a_quarantine_is_one_short_line() {
        assert_eq!(in_a_line("a\r\nmilter: b\x1b[2J\u{85}"), "a??milter: b?[2J?");
        assert_eq!(in_a_line(&"é".repeat(1000)).chars().count(), REASON_CHARACTERS_MAX);
    }
}
