//! One transaction on its way: the commands of its envelope in groups, what each reply means for whom, and how much of
//! the mail data is still to come.
//!
//! **Implements** RFC 5321 section 3.3 (client side), RFC 2920 section 3.1 (MAIL, RCPT and DATA in one group, DATA last).
//! **Does not** know the session around it: `outbound::client` does.

use std::sync::Arc;

use super::client_state::{Capabilities, Transaction};
use super::fate::{Elsewhere, Fate};
use crate::mail::envelope::Body;
use crate::wire::reply::Reply;

/// Commands sent before a reply is waited for: with more, both sides could end up writing with nobody reading.
const PIPELINE_COMMANDS_MAX: usize = 50;

/// A transaction and how far it has come: command 0 is MAIL, command n is RCPT n-1, the one behind the last RCPT is DATA.
#[derive(Debug)]
pub struct Progress {
    transaction: Arc<Transaction>,
    fates: Vec<Option<Fate>>,
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
            transaction,
            sent: 0,
            answered: 0,
            mail_taken: false,
            recipient_taken: false,
            octets_sent: 0,
        }
    }

    /// Octets of mail data, as announced.
    pub fn size_octets(&self) -> u64 {
        self.transaction.size_octets
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
        let group = if capabilities.pipelining {
            PIPELINE_COMMANDS_MAX
        } else {
            1
        };
        let data = self.data_number();
        let to = self.sent.saturating_add(group).min(data.saturating_add(1));
        let mut text = String::with_capacity(128);
        for number in self.sent..to {
            let recipient = number.checked_sub(1);
            match recipient.map(|n| self.transaction.forward_paths.get(n)) {
                None => self.mail_command(capabilities, &mut text),
                Some(Some(path)) => text.extend(["RCPT TO:<", &path.to_string(), ">\r\n"]),
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
            text.extend([" SIZE=", &transaction.size_octets.to_string()]);
        }
        if capabilities.eight_bit_mime && transaction.body == Body::EightBitMime {
            text.push_str(" BODY=8BITMIME");
        }
        text.push_str("\r\n");
    }

    const fn data_number(&self) -> usize {
        self.fates.len().saturating_add(1)
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
        } else if let Some(slot) = self.fates.get_mut(recipient) {
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
        self.transaction.size_octets.checked_sub(self.octets_sent)
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
