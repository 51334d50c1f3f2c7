//! MAIL and RCPT: the envelope as it grows.
//!
//! **Implements** RFC 5321 sections 4.1.1.2 and 4.1.1.3, the declared size of RFC 1870 section 6.1,
//! `smtpd_recipient_limit`. The chain decides on every recipient; what its permissions are bound to is kept here.

use std::sync::Arc;

use super::connection::Connection;
use super::event::{Event, MessageFault};
use super::replies;
use super::settings::SessionSettings;
use crate::cert::identity::Identity;
use crate::mail::envelope::{Body, Demands, Envelope, Submitter};
use crate::mail::from_header::FromCollector;
use crate::policy::limits::{Amount, Charge, Exceeded, Limit};
use crate::policy::sender_binding::SenderBinding;
use crate::policy::verdict::{Obligations, Verdict};
use crate::wire::command::split_path_argument;
use crate::wire::parameters::{BodyType, MailParameters, ParameterError, parse_rcpt_parameters};
use crate::wire::path::{ForwardPath, Mailbox, ReversePath};
use crate::wire::reply::Reply;

/// A transaction after its MAIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    /// MAIL FROM.
    pub(super) reverse_path: ReversePath,
    /// RCPT TO, permitted, each once.
    pub(super) forward_paths: Vec<ForwardPath>,
    /// RCPT commands permitted, the same recipient counted again.
    permitted: usize,
    /// The restriction that permitted the last recipient.
    pub(super) decided_by: String,
    /// The references of the decisions on the permitted recipients.
    pub(super) references: Vec<String>,
    /// What the permissions are bound to, each once.
    obligations: Obligations,
    /// Why the message will wait on hold.
    pub(super) hold: Option<String>,
    /// Whether any RCPT was refused.
    pub(super) has_refused: bool,
    body: Body,
    overshoot: usize,
}

/// A recipient that RCPT names, not yet decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipient {
    /// RCPT TO.
    pub(super) forward_path: ForwardPath,
}

/// Recipients past `smtpd_recipient_limit` that are not counted as errors (`smtpd_recipient_overshoot_limit`): RFC
/// 5321 section 4.5.3.1.10 lets a client send on and keep those that were taken.
const RECIPIENTS_OVERSHOOT_MAX: usize = 1000;

impl Transaction {
    /// Begins a transaction with the argument of MAIL.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn begin(argument: &str, connection: &Connection) -> Result<Self, Reply> {
        let (path, parameters) = split_path_argument(argument, "FROM:").map_err(replies::bad_reverse_path)?;
        let reverse_path = ReversePath::parse(path).map_err(|why| replies::bad_reverse_path(why.into()))?;
        let parameters = MailParameters::parse(parameters).map_err(|why| replies::bad_parameter(&why))?;
        // RFC 4954 section 5: a parameter of an extension that is announced here, or of none.
        if parameters.auth && connection.offered_mechanisms().is_empty() {
            return Err(replies::bad_parameter(&ParameterError::Unknown("AUTH".into())));
        }
        let limit = connection.settings.message_size_octets_max;
        if limit > 0 && parameters.size_octets.is_some_and(|size| size > limit) {
            return Err(replies::too_big());
        }
        if !connection.has_space {
            return Err(replies::no_space());
        }
        let body = match parameters.body {
            Some(BodyType::EightBitMime) => Body::EightBitMime,
            Some(BodyType::SevenBit) | None => Body::SevenBit,
        };
        Ok(Self {
            reverse_path,
            forward_paths: Vec::new(),
            permitted: 0,
            decided_by: String::new(),
            references: Vec::new(),
            obligations: Obligations::default(),
            hold: None,
            has_refused: false,
            body,
            overshoot: 0,
        })
    }

    /// Whether no more recipients are taken. One that is named twice counts twice, as in Postfix.
    pub(super) fn is_full(&self, settings: &SessionSettings) -> bool {
        self.permitted >= settings.recipients_max
    }

    /// Counts a recipient past the limit; false once there are so many that each is an error.
    pub(super) fn tolerates_overshoot(&mut self) -> bool {
        self.overshoot = self.overshoot.saturating_add(1);
        self.overshoot <= RECIPIENTS_OVERSHOOT_MAX
    }

    /// Reads the argument of RCPT.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn read_recipient(argument: &str) -> Result<Recipient, Reply> {
        let (path, parameters) = split_path_argument(argument, "TO:").map_err(replies::bad_forward_path)?;
        let forward_path = ForwardPath::parse(path).map_err(|why| replies::bad_forward_path(why.into()))?;
        parse_rcpt_parameters(parameters).map_err(|why| replies::bad_parameter(&why))?;
        Ok(Recipient { forward_path })
    }

    /// Takes the decision on a recipient: answers and records it.
    pub(super) fn decided(&mut self, recipient: Recipient, verdict: Verdict, connection: &mut Connection) {
        let forward_path = recipient.forward_path;
        let reference = connection.next_reference();
        let reply = replies::reply_for(&verdict, &forward_path, &reference);
        connection.send(&reply);
        if verdict.is_permit() {
            self.permitted = self.permitted.saturating_add(1);
            verdict.decided_by().clone_into(&mut self.decided_by);
            self.references.push(reference.clone());
            add_each_once(&mut self.obligations.from_header, &verdict.obligations.from_header);
            add_each_once(&mut self.obligations.limits, &verdict.obligations.limits);
            if !self.forward_paths.contains(&forward_path) {
                self.forward_paths.push(forward_path.clone());
            }
        } else {
            self.has_refused = true;
            connection.counters.error();
        }
        connection.events.push_back(Event::RecipientDecided {
            origin: Arc::clone(&connection.origin),
            reference,
            reverse_path: self.reverse_path.clone(),
            forward_path,
            verdict: Box::new(verdict),
            reply,
        });
    }

    /// What is charged to the holder at DATA, when a rule limits it.
    pub(super) fn opening_charge(&self, connection: &Connection) -> Option<Box<Charge>> {
        let amount = Amount {
            messages: 1,
            recipients: self.forward_paths.len() as u64,
            octets: 0,
        };
        charge(self.obligations.limits.clone(), amount, &connection.identity)
    }

    /// What is charged at the end of data, when a rule limits octets.
    pub(super) fn octets_charge(&self, octets: u64, connection: &Connection) -> Option<Box<Charge>> {
        let counts_octets = |limit: &&Arc<Limit>| limit.octets.is_some();
        let limits = self.obligations.limits.iter().filter(counts_octets).cloned().collect();
        let amount = Amount {
            octets,
            ..Amount::default()
        };
        charge(limits, amount, &connection.identity)
    }

    /// The message is taken, and waits for the postmaster. The first limit that acted stands for all of them.
    pub(super) fn put_on_hold(&mut self, exceeded: Exceeded, connection: &mut Connection) {
        if self.hold.is_some() && !exceeded.is_news {
            return;
        }
        let words = format!("limit {}: {}: {}", exceeded.limit.name, exceeded.holder, exceeded.usage);
        self.hold.get_or_insert(words);
        self.record_exceeded(exceeded, None, connection);
    }

    /// Records that a limit acts.
    pub(super) fn record_exceeded(&self, exceeded: Exceeded, reference: Option<String>, connection: &mut Connection) {
        connection.events.push_back(Event::LimitExceeded {
            origin: Arc::clone(&connection.origin),
            reference,
            reverse_path: self.reverse_path.clone(),
            forward_paths: self.forward_paths.clone(),
            exceeded: Box::new(exceeded),
        });
    }

    /// What keeps the From header field, when a rule binds it.
    pub(super) fn collector_of_from(&self) -> Option<FromCollector> {
        (!self.obligations.from_header.is_empty()).then(FromCollector::default)
    }

    /// What is wrong with the From header field: every binding must own every address in it.
    pub(super) fn fault_of_from(&self, from: Option<&FromCollector>, identity: &Identity) -> Option<MessageFault> {
        let addresses = match from?.addresses() {
            Ok(addresses) => addresses,
            Err(why) => return Some(MessageFault::FromHeader(why)),
        };
        let is_owned = |binding: &Arc<SenderBinding>, mailbox: &Mailbox| {
            let certificate = identity.verified();
            certificate.is_some_and(|certificate| binding.owns(certificate, mailbox))
        };
        let bindings = &self.obligations.from_header;
        let mut foreign = addresses.into_iter();
        let foreign = foreign.find(|mailbox| !bindings.iter().all(|binding| is_owned(binding, mailbox)));
        foreign.map(MessageFault::FromNotOwned)
    }

    /// What the message is queued with.
    pub(super) fn envelope(&self, connection: &Connection) -> Envelope {
        let origin = &connection.origin;
        Envelope {
            reverse_path: self.reverse_path.clone(),
            forward_paths: self.forward_paths.clone(),
            body: self.body,
            submitter: Submitter {
                session_id: origin.session_id.clone(),
                peer: Some(origin.peer),
                identity: origin.identity.to_owned(),
                issuer: origin.issuer.clone(),
                subject: origin.subject.clone(),
                fingerprint: origin.fingerprint.clone(),
                login: connection.login.clone(),
                decided_by: self.decided_by.clone(),
            },
            demands: Demands::default(),
            hold: self.hold.clone(),
        }
    }
}

fn add_each_once<T: PartialEq>(known: &mut Vec<Arc<T>>, more: &[Arc<T>]) {
    for one in more {
        if !known.contains(one) {
            known.push(Arc::clone(one));
        }
    }
}

/// A charge to the holder of a verified certificate; `None` without a limit.
fn charge(limits: Vec<Arc<Limit>>, amount: Amount, identity: &Identity) -> Option<Box<Charge>> {
    let Identity::Verified { certificate, .. } = identity else {
        return None;
    };
    let certificate = Arc::clone(certificate);
    (!limits.is_empty()).then(|| {
        Box::new(Charge {
            limits,
            certificate,
            amount,
        })
    })
}
