//! What is asked of the session and of the envelope, without the outside world.
//!
//! **Implements** `permit_sasl_authenticated`, `permit_inet_interfaces`, `reject_plaintext_session`,
//! `reject_unauth_pipelining`, `reject_multi_recipient_bounce`, `reject_unlisted_*`, `reject_*sender_login_mismatch`,
//! `defer_if_permit`, `defer_if_reject` of postconf(5).

use std::sync::Arc;

use super::answer::Answer;
use super::asker::{Asked, Asker, domain_of, not_known, pass};
use super::refusal::{Subject, Why};
use super::stage::Stage;
use super::table::Table;
use super::verdict::{Because, Opinion};
use super::word::Word;
use crate::cert::identity::Identity;
use crate::wire::path::{Mailbox, ReversePath};

impl Asker<'_> {
    /// Asks one of the words.
    pub(super) fn ask_word(&self, word: Word) -> Asked {
        Ok(match word {
            Word::DeferIfPermit => self.requested(Opinion::DeferIfPermit, word),
            Word::DeferIfReject => self.requested(Opinion::DeferIfReject, word),
            Word::PermitInetInterfaces => self.permit_inet_interfaces(),
            Word::PermitSaslAuthenticated => self.permit_sasl_authenticated(),
            Word::RejectPlaintextSession => self.reject_plaintext_session(),
            Word::RejectUnauthPipelining => self.reject_unauth_pipelining(),
            Word::RejectMultiRecipientBounce => self.reject_multi_recipient_bounce(),
            Word::RejectUnlistedRecipient => self.reject_unlisted_recipient(),
            Word::RejectUnlistedSender => self.reject_unlisted_sender(),
            Word::RejectAuthenticatedLoginMismatch
            | Word::RejectUnauthenticatedLoginMismatch
            | Word::RejectLoginMismatch
            | Word::RejectKnownLoginMismatch => self.reject_login_mismatch(word),
            Word::RejectInvalidHello => self.reject_invalid_hello(),
            Word::RejectNonFqdnHello => self.reject_non_fqdn_hello(),
            Word::RejectNonFqdnRecipient => self.reject_non_fqdn_recipient(),
            Word::RejectNonFqdnSender => self.reject_non_fqdn_sender(),
            Word::RejectUnknownClient => return self.reject_unknown_client(),
            Word::RejectUnknownReverseClient => return self.reject_unknown_reverse_client(),
            Word::RejectUnknownHello => return self.reject_unknown_hello(),
            Word::RejectUnknownRecipientDomain => return self.reject_unknown_recipient_domain(),
            Word::RejectUnknownSenderDomain => return self.reject_unknown_sender_domain(),
        })
    }

    fn requested(&self, opinion: Opinion, word: Word) -> Answer {
        let denied = self.denied(450, (7, 0), self.subject(), Why::Requested(word.name()));
        Answer::with_refusal(opinion, denied, Because::Unconditional)
    }

    fn permit_inet_interfaces(&self) -> Answer {
        let peer = self.facts.peer;
        if self.lists.local_addresses.contains(&peer) {
            Answer::from((Opinion::Permit, Because::AddressInNetwork(peer, peer.into())))
        } else {
            pass(Because::AddressOutsideNetworks(peer))
        }
    }

    fn permit_sasl_authenticated(&self) -> Answer {
        match self.facts.login {
            Some(login) => Answer::from((Opinion::Permit, Because::LoggedIn(login.to_owned()))),
            None => pass(Because::NotLoggedIn),
        }
    }

    fn reject_plaintext_session(&self) -> Answer {
        if !matches!(self.facts.identity, Identity::Plaintext) {
            return pass(Because::Good("the session".into()));
        }
        let denied = self.denied(
            self.lists.codes.plaintext,
            (7, 1),
            self.subject(),
            Why::PlaintextSession,
        );
        Answer::denied(denied, Because::NoTls)
    }

    fn reject_unauth_pipelining(&self) -> Answer {
        if self.facts.pipelined_unauthorised {
            self.refuse(503, (5, 0), self.subject(), Why::Pipelining)
        } else {
            pass(Because::Good("the order of commands".into()))
        }
    }

    /// Counts from DATA on: before it nobody knows how many there will be.
    fn reject_multi_recipient_bounce(&self) -> Answer {
        let is_bounce = matches!(self.facts.reverse_path, Some(ReversePath::Null));
        let already = match self.facts.stage {
            Stage::Recipient => self.facts.recipients.saturating_add(1),
            _ => self.facts.recipients,
        };
        if is_bounce && already > 1 {
            let code = self.lists.codes.multi_recipient_bounce;
            return self.refuse(code, (5, 3), self.subject(), Why::MultiRecipientBounce);
        }
        pass(Because::Good("the number of recipients".into()))
    }

    /// `reject_unlisted_recipient`, and `smtpd_reject_unlisted_recipient`.
    pub(super) fn reject_unlisted_recipient(&self) -> Answer {
        match self.recipient() {
            Some(mailbox) => self.reject_unlisted(mailbox, Subject::Recipient, (1, 1)),
            None => not_known(),
        }
    }

    /// `reject_unlisted_sender`, and `smtpd_reject_unlisted_sender`.
    pub(super) fn reject_unlisted_sender(&self) -> Answer {
        match self.sender() {
            Some(mailbox) => self.reject_unlisted(mailbox, Subject::Sender, (1, 0)),
            None => not_known(),
        }
    }

    fn reject_unlisted(&self, mailbox: &Mailbox, subject: Subject, status: (u16, u16)) -> Answer {
        let is_ours = domain_of(mailbox).is_some_and(|domain| self.lists.is_destination(domain));
        let tables = &self.lists.relay_recipients;
        if !is_ours || tables.is_empty() || !owners(tables, mailbox).is_empty() {
            return pass(Because::Good(mailbox.to_string()));
        }
        self.refuse(self.lists.codes.unlisted, status, subject, Why::Unlisted)
    }

    fn reject_login_mismatch(&self, word: Word) -> Answer {
        let Some(mailbox) = self.sender() else {
            return not_known();
        };
        let found = owners(&self.lists.sender_logins, mailbox);
        let owns = |login: &str| {
            let names = found
                .iter()
                .flat_map(|value| value.split(|c: char| c == ',' || c.is_whitespace()));
            names.into_iter().any(|name| name == login)
        };
        let is_owned = !found.is_empty();
        let why = match (self.facts.login, word) {
            (Some(login), Word::RejectAuthenticatedLoginMismatch | Word::RejectLoginMismatch) if !owns(login) => {
                Why::NotOwnedBy(login.to_owned())
            }
            (Some(login), Word::RejectKnownLoginMismatch) if is_owned && !owns(login) => {
                Why::NotOwnedBy(login.to_owned())
            }
            (
                None,
                Word::RejectUnauthenticatedLoginMismatch | Word::RejectLoginMismatch | Word::RejectKnownLoginMismatch,
            ) if is_owned => Why::NotLoggedIn,
            _ => return pass(Because::Good(mailbox.to_string())),
        };
        self.refuse(553, (7, 1), Subject::Sender, why)
    }
}

/// What the first table says that knows an address: whole, then its domain as `@domain`.
fn owners(tables: &[Arc<Table>], mailbox: &Mailbox) -> Vec<String> {
    let whole = mailbox.to_string();
    let domain = format!("@{}", mailbox.host);
    let find = |table: &Arc<Table>| {
        let whole = table.find(&whole);
        whole.or_else(|| table.has_partial_keys().then(|| table.find(&domain))?)
    };
    tables.iter().find_map(find).into_iter().collect()
}
