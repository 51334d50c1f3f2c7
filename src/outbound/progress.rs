//! One transaction on its way: the commands of its envelope in groups, what each reply means for whom, and how much of
//! the mail data is still to come.
//!
//! **Implements** RFC 5321 section 3.3 (client side), RFC 2920 section 3.1 (MAIL, RCPT and DATA in one group, DATA last), the
//! parameters of RFC 1870, 3461, 6152, 6531 and 8689, and RCPTMAX of RFC 9422.
//! **Does not** know the session around it: `outbound::client` does.

use std::sync::Arc;

use super::capabilities::{Capabilities, Extension};
use super::client_state::Transaction;
use super::fate::{Elsewhere, Fate};
use crate::mail::envelope::Body;
use crate::wire::reply::Reply;

/// Commands sent before a reply is waited for: with more, both sides could end up writing with nobody reading.
const PIPELINE_COMMANDS_MAX: usize = 50;

/// A transaction and how far it has come: command 0 is MAIL, command n is RCPT of the n-th recipient that is said, the one
/// behind the last RCPT is DATA.
#[derive(Debug)]
pub struct Progress {
    transaction: Arc<Transaction>,
    fates: Vec<Option<Fate>>,
    /// The places of the recipients that are said to this peer.
    said: Vec<usize>,
    /// Octets of mail data: as queued, or once converted.
    size_octets: u64,
    is_converted: bool,
    sent: usize,
    answered: usize,
    mail_taken: bool,
    recipient_taken: bool,
    octets_sent: u64,
}

/// What comes next once a reply to MAIL or RCPT was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another reply to what was sent.
    Reply,
    /// More commands: [`Progress::next_group`].
    Group,
    /// Nothing: nobody is left to whom it could be delivered, and no reply is outstanding.
    Nothing,
}

impl Progress {
    /// A transaction of which nothing is said.
    pub fn new(transaction: Arc<Transaction>) -> Self {
        Self {
            fates: vec![None; transaction.forward_paths.len()],
            said: Vec::new(),
            size_octets: transaction.size_octets,
            is_converted: false,
            transaction,
            sent: 0,
            answered: 0,
            mail_taken: false,
            recipient_taken: false,
            octets_sent: 0,
        }
    }

    /// Octets of mail data, as announced.
    pub const fn size_octets(&self) -> u64 {
        self.size_octets
    }

    /// The transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// The mail data goes converted to seven bits, so many octets of it.
    pub const fn convert(&mut self, size_octets: u64) {
        self.size_octets = size_octets;
        self.is_converted = true;
    }

    /// Whether it does.
    pub const fn is_converted(&self) -> bool {
        self.is_converted
    }

    /// Settles what is decided before anything is said of it.
    pub fn settle(&mut self, place: usize, fate: Fate) {
        if let Some(slot) = self.fates.get_mut(place) {
            slot.get_or_insert(fate);
        }
    }

    /// Chooses the recipients that are said: all that are not settled, as far as `remote` takes them at once.
    pub fn choose(&mut self, remote: &str, recipients_max: Option<usize>) {
        let mut room = recipients_max.unwrap_or(usize::MAX);
        self.said.clear();
        for (place, fate) in self.fates.iter_mut().enumerate().filter(|(_, fate)| fate.is_none()) {
            if room == 0 {
                *fate = Some(Fate::postponed(remote));
                continue;
            }
            room = room.saturating_sub(1);
            self.said.push(place);
        }
    }

    /// Whether DATA is sent and its reply is the next to come.
    pub const fn is_at_data(&self) -> bool {
        self.answered == self.data_number() && self.sent > self.answered
    }

    /// Whether the reply to MAIL is the next to come.
    pub const fn is_at_mail(&self) -> bool {
        self.answered == 0
    }

    /// What is going on, for reports.
    pub const fn activity(&self) -> &'static str {
        if self.is_at_mail() {
            "sending MAIL FROM"
        } else if self.is_at_data() {
            "sending the DATA command"
        } else {
            "sending RCPT TO"
        }
    }

    /// Whether MAIL is sent.
    pub const fn is_begun(&self) -> bool {
        self.sent > 0
    }

    /// Whether the peer has begun a transaction, which a RSET would end.
    pub const fn is_mail_taken(&self) -> bool {
        self.mail_taken
    }

    /// Whether the peer has taken nothing beyond MAIL, and not everything is decided.
    pub fn is_untried(&self) -> bool {
        !self.recipient_taken && !self.is_decided()
    }

    /// Whether every recipient has its fate.
    pub fn is_decided(&self) -> bool {
        self.fates.iter().all(Option::is_some)
    }

    /// The next command, or the next group of them with PIPELINING.
    pub fn next_group(&mut self, capabilities: Capabilities) -> Vec<u8> {
        let group = if capabilities.has(Extension::Pipelining) {
            PIPELINE_COMMANDS_MAX
        } else {
            1
        };
        let data = self.data_number();
        let to = self.sent.saturating_add(group).min(data.saturating_add(1));
        let mut text = String::with_capacity(128);
        for number in self.sent..to {
            match number.checked_sub(1).map(|nth| self.said.get(nth)) {
                None => self.mail_command(capabilities, &mut text),
                Some(Some(place)) => self.rcpt_command(*place, capabilities, &mut text),
                Some(None) => text.push_str("DATA\r\n"),
            }
        }
        self.sent = to;
        text.into_bytes()
    }

    fn mail_command(&self, capabilities: Capabilities, text: &mut String) {
        let transaction = &self.transaction;
        text.extend(["MAIL FROM:<", &transaction.reverse_path.to_string(), ">"]);
        if capabilities.size.is_some() {
            text.extend([" SIZE=", &self.size_octets.to_string()]);
        }
        if capabilities.has(Extension::EightBitMime) && transaction.body == Body::EightBitMime {
            text.push_str(" BODY=8BITMIME");
        }
        let demands = &transaction.demands;
        if demands.smtputf8 && capabilities.has(Extension::SmtpUtf8) {
            text.push_str(" SMTPUTF8");
        }
        if demands.require_tls {
            text.push_str(" REQUIRETLS");
        }
        if capabilities.has(Extension::Dsn) {
            if let Some(ret) = demands.dsn.ret {
                text.extend([" RET=", &ret.to_string()]);
            }
            if let Some(id) = &demands.dsn.envelope_id {
                text.extend([" ENVID=", id]);
            }
        }
        text.push_str("\r\n");
    }

    fn rcpt_command(&self, place: usize, capabilities: Capabilities, text: &mut String) {
        let Some(path) = self.transaction.forward_paths.get(place) else {
            return;
        };
        text.extend(["RCPT TO:<", &path.to_string(), ">"]);
        let request = self.transaction.demands.recipients.get(place);
        if let Some(request) = request.filter(|_| capabilities.has(Extension::Dsn)) {
            if let Some(notify) = request.notify {
                text.extend([" NOTIFY=", &notify.to_string()]);
            }
            if let Some(original) = &request.original_recipient {
                text.extend([" ORCPT=", original]);
            }
        }
        text.push_str("\r\n");
    }

    const fn data_number(&self) -> usize {
        self.said.len().saturating_add(1)
    }

    /// Takes the reply of `remote` to MAIL or RCPT.
    pub fn take_reply(&mut self, remote: &str, reply: &Reply) -> Next {
        let number = self.answered;
        self.answered = number.saturating_add(1);
        match number.checked_sub(1) {
            None if reply.is_positive() => self.mail_taken = true,
            None => self.settle_rest(&Fate::of_reply(remote, reply)),
            Some(recipient) => self.take_recipient(remote, reply, recipient),
        }
        let (data, sent) = (self.data_number(), self.sent);
        match self.answered {
            answered if answered < sent => Next::Reply,
            answered if !self.mail_taken || (answered == data && self.is_decided()) => Next::Nothing,
            _ => Next::Group,
        }
    }

    fn take_recipient(&mut self, remote: &str, reply: &Reply, recipient: usize) {
        // Behind a refused MAIL the replies to RCPT say nothing about the recipients.
        if !self.mail_taken {
            return;
        }
        if reply.is_positive() {
            self.recipient_taken = true;
        } else if let Some(slot) = self.said.get(recipient).and_then(|place| self.fates.get_mut(*place)) {
            *slot = Some(fate_of_recipient(remote, reply));
        }
    }

    /// The one fate of all that have none yet.
    pub fn settle_rest(&mut self, fate: &Fate) {
        for slot in &mut self.fates {
            slot.get_or_insert_with(|| fate.clone());
        }
    }

    /// The fates, in order; those not decided are left out.
    pub fn take_fates(&mut self) -> Vec<Fate> {
        std::mem::take(&mut self.fates).into_iter().flatten().collect()
    }

    /// Counts octets of mail data; returns how many are still to come, or `None` when these are more than there should
    /// be.
    pub fn count(&mut self, octets: usize) -> Option<u64> {
        self.octets_sent = self.octets_sent.checked_add(u64::try_from(octets).ok()?)?;
        self.size_octets.checked_sub(self.octets_sent)
    }
}

fn fate_of_recipient(remote: &str, reply: &Reply) -> Fate {
    if reply.code != 552 {
        return Fate::of_reply(remote, reply);
    }
    // RFC 5321 section 4.5.3.1.10: "if a client receives a 552 reply code [to RCPT], it SHOULD be treated as 452", for
    // it means too many recipients.
    Fate::softened(remote, reply, Elsewhere::No)
}
