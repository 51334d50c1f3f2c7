//! MAIL and RCPT: the envelope as it grows.
//!
//! **Implements** RFC 5321 sections 4.1.1.2 and 4.1.1.3, the declared size of RFC 1870 section 6.1, the requests of RFC 3461,
//! the UTF-8 addresses of RFC 6531, `smtpd_recipient_limit`. The chain decides on every recipient; what its permissions are bound to is kept here.

use std::sync::Arc;

use super::action::Action;
use super::connection::Connection;
use super::event::{Event, MessageFault};
use super::extension::Extension;
use super::filter::{EnvelopeChanges, RecipientChange};
use super::hello::Greeting;
use super::replies;
use super::settings::SessionSettings;
use crate::cert::identity::Identity;
use crate::mail::dsn::{MessageRequest, RecipientRequest};
use crate::mail::dsn_parameters::{is_envelope_id, notify_of, original_recipient_of, return_of};
use crate::mail::envelope::{Body, Demands, Envelope, Submitter};
use crate::mail::from_header::FromCollector;
use crate::mail::queue_id::QueueId;
use crate::policy::limits::{Amount, Charge, Exceeded, Limit};
use crate::policy::sender_binding::SenderBinding;
use crate::policy::verdict::{Obligations, Verdict};
use crate::wire::chunking::Chunk;
use crate::wire::command::{PathArgumentError, split_path_argument};
use crate::wire::parameters::{BodyType, MailParameters, ParameterError, RecipientParameters};
use crate::wire::path::{ForwardPath, Mailbox, PathError, ReversePath};
use crate::wire::reply::{Charset, Reply};

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
    /// The size that MAIL declares.
    pub(super) size_octets: Option<u64>,
    /// Names this transaction to policy services.
    pub(super) instance: String,
    /// Whether any RCPT was refused.
    pub(super) has_refused: bool,
    /// Whether SMTPUTF8 was declared.
    pub(super) is_utf8: bool,
    /// The chunk that BDAT has announced and of which nothing was read.
    pub(super) chunk: Option<Chunk>,
    /// What was asked of whoever carries the message on, of every recipient for itself; SMTPUTF8 when the header turned out to
    /// hold UTF-8.
    pub(super) demands: Demands,
    /// The parameters of MAIL as they were said.
    pub(super) parameters: Vec<String>,
    /// The id of its draft.
    pub(super) id: Option<QueueId>,
    /// The content filter that has it thrown away.
    pub(super) discarded_by: Option<String>,
    body: Body,
    overshoot: usize,
}

/// A recipient that RCPT names, not yet decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipient {
    /// RCPT TO.
    pub(super) forward_path: ForwardPath,
    request: RecipientRequest,
    /// The parameters of RCPT as they were said.
    pub(super) parameters: Vec<String>,
}

/// Recipients past `smtpd_recipient_limit` that are not counted as errors (`smtpd_recipient_overshoot_limit`): RFC
/// 5321 section 4.5.3.1.10 lets a client send on and keep those that were taken.
const RECIPIENTS_OVERSHOOT_MAX: usize = 1000;

impl Transaction {
    /// Begins a transaction with the argument of MAIL.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn begin(argument: &str, greeting: &Greeting, connection: &mut Connection) -> Result<Self, Reply> {
        let (path, parameters) = split_path_argument(argument, "FROM:").map_err(replies::bad_reverse_path)?;
        let words = words_of(parameters);
        let parameters = MailParameters::parse(parameters).map_err(|why| replies::bad_parameter(&why))?;
        let path = declared(path, parameters.smtputf8).map_err(replies::bad_reverse_path)?;
        let reverse_path = ReversePath::parse(path).map_err(|why| replies::bad_reverse_path(why.into()))?;
        check_offered(parameters.keywords(), greeting, connection)?;
        let size_octets = parameters.size_octets.unwrap_or_default();
        if connection.settings.is_too_big(size_octets) {
            return Err(replies::too_big());
        }
        if connection.room_octets == 0 || size_octets > connection.room_octets {
            return Err(replies::no_space());
        }
        let dsn = message_request(&parameters).map_err(|why| replies::bad_parameter(&why))?;
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
            obligations: connection.standing.clone(),
            hold: None,
            size_octets: parameters.size_octets,
            instance: connection.next_instance(),
            has_refused: false,
            is_utf8: parameters.smtputf8,
            chunk: None,
            demands: Demands {
                require_tls: parameters.require_tls,
                dsn,
                ..Demands::default()
            },
            parameters: words,
            id: None,
            discarded_by: None,
            body,
            overshoot: 0,
        })
    }

    /// What the client takes in a reply.
    pub(super) const fn charset(&self) -> Charset {
        if self.is_utf8 { Charset::Utf8 } else { Charset::Ascii }
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
    pub(super) fn read_recipient(
        &self,
        argument: &str,
        greeting: &Greeting,
        connection: &Connection,
    ) -> Result<Recipient, Reply> {
        let (path, parameters) = split_path_argument(argument, "TO:").map_err(replies::bad_forward_path)?;
        let path = declared(path, self.is_utf8).map_err(replies::bad_forward_path)?;
        let forward_path = ForwardPath::parse(path).map_err(|why| replies::bad_forward_path(why.into()))?;
        let words = words_of(parameters);
        let parameters = RecipientParameters::parse(parameters).map_err(|why| replies::bad_parameter(&why))?;
        check_offered(parameters.keywords(), greeting, connection)?;
        let request = recipient_request(&parameters, self.is_utf8).map_err(|why| replies::bad_parameter(&why))?;
        Ok(Recipient {
            forward_path,
            request,
            parameters: words,
        })
    }

    /// Takes the decision on a recipient: answers and records it. Returns the answer.
    pub(super) fn decided(&mut self, recipient: Recipient, verdict: Verdict, connection: &mut Connection) -> Reply {
        let forward_path = recipient.forward_path;
        let reference = connection.next_reference();
        let reply = replies::reply_for(&verdict, &forward_path, &reference);
        connection.send(&reply);
        if verdict.is_permit() {
            self.permitted = self.permitted.saturating_add(1);
            verdict.decided_by().clone_into(&mut self.decided_by);
            self.references.push(reference.clone());
            self.obligations.add(&verdict.obligations);
            self.add(forward_path.clone(), recipient.request);
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
            reply: reply.clone(),
        });
        reply
    }

    /// AUTH= of MAIL as it was written (RFC 4954 section 5), for policy services.
    pub(super) fn login_sender(&self) -> &str {
        let value = |word: &str| word.get(..5).is_some_and(|key| key.eq_ignore_ascii_case("AUTH="));
        let word = self.parameters.iter().find(|word| value(word.as_str()));
        word.and_then(|word| word.get(5..)).unwrap_or_default()
    }

    /// Takes what content filters change. When they take the last recipient away, the message has nowhere to go, and is thrown
    /// away.
    pub(super) fn change(&mut self, changes: EnvelopeChanges) {
        let had_recipients = !self.forward_paths.is_empty();
        if let Some(reverse_path) = changes.reverse_path {
            self.reverse_path = reverse_path;
        }
        let asked = &mut self.demands.dsn;
        asked.ret = changes.dsn.ret.or(asked.ret);
        asked.envelope_id = changes.dsn.envelope_id.or_else(|| asked.envelope_id.take());
        for change in changes.recipients {
            match change {
                RecipientChange::Add(path, request) => self.add(path, request),
                RecipientChange::Remove(path) => {
                    if let Some(place) = self.forward_paths.iter().position(|known| *known == path) {
                        self.forward_paths.remove(place);
                        self.demands.recipients.remove(place);
                    }
                }
            }
        }
        if let Some(reason) = changes.hold {
            self.hold.get_or_insert(reason);
        }
        if had_recipients && self.forward_paths.is_empty() {
            self.discarded_by.get_or_insert_with(|| "smtpd_milters".into());
        }
    }

    /// The client is told that the message is taken, and nobody will get it.
    pub(super) fn throw_away(
        &self,
        decided_by: &'static str,
        because: String,
        size_octets: u64,
        connection: &mut Connection,
    ) {
        connection.actions.push_back(Action::Discard);
        let reply = replies::queued_in_name(self.id);
        connection.send(&reply);
        connection.counters.reset();
        let reference = connection.next_reference();
        connection.events.push_back(Event::MessageDiscarded {
            origin: Arc::clone(&connection.origin),
            reference,
            id: self.id,
            decided_by,
            because,
            size_octets,
            reverse_path: self.reverse_path.clone(),
            forward_paths: self.forward_paths.clone(),
            reply,
        });
    }

    /// Takes a recipient, each once. One that is named again is delivered to once and asks for whatever either RCPT asked.
    fn add(&mut self, forward_path: ForwardPath, request: RecipientRequest) {
        let known = self.forward_paths.iter().position(|known| *known == forward_path);
        if let Some(before) = known.and_then(|at| self.demands.recipients.get_mut(at)) {
            before.add(request);
        } else {
            self.forward_paths.push(forward_path);
            self.demands.recipients.push(request);
        }
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

    /// What whoever carries the message on has to keep to, its addresses apart.
    fn demands(&self) -> Demands {
        let mut demands = self.demands.clone();
        demands.smtputf8 = self.is_utf8 && demands.smtputf8;
        if demands.recipients.iter().all(RecipientRequest::is_empty) {
            demands.recipients.clear();
        }
        demands
    }

    /// What the message is queued with.
    pub(super) fn envelope(&self, connection: &Connection) -> Envelope {
        let origin = &connection.origin;
        let mut envelope = Envelope {
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
            demands: self.demands(),
            hold: self.hold.clone(),
        };
        self.reroute(&mut envelope);
        // Whoever put a UTF-8 address there, the client, a filter or a list. SMTPUTF8 that was declared costs nothing where
        // nothing is UTF-8.
        envelope.demands.smtputf8 |=
            envelope.reverse_path.needs_utf8() || envelope.forward_paths.iter().any(ForwardPath::needs_utf8);
        envelope
    }

    /// Takes what a list at another stage than RCPT asks of the message.
    pub(super) fn oblige(&mut self, obligations: &Obligations) {
        self.obligations.add(obligations);
    }

    /// HOLD of a table or a policy service: the message waits for the postmaster.
    pub(super) fn settle_hold(&mut self) {
        if let Some(text) = &self.obligations.hold {
            let words = if text.is_empty() {
                "HOLD of an access table".to_owned()
            } else {
                format!("HOLD of an access table: {text}")
            };
            self.hold.get_or_insert(words);
        }
    }

    /// Whether the message is thrown away: what decided so, and why.
    pub(super) fn discard(&self) -> Option<(&'static str, String)> {
        if let Some(text) = &self.obligations.discard {
            return Some(("DISCARD", format!("DISCARD of an access table: {text}")));
        }
        let filter = self.discarded_by.as_ref()?;
        Some(("smtpd_milters", format!("milter {filter} discarded")))
    }

    /// PREPEND: header fields before ours, each a line.
    pub(super) fn prepended(&self) -> String {
        let fields = self.obligations.prepend.iter();
        fields.map(|field| format!("{field}\r\n")).collect()
    }

    /// REDIRECT and BCC: nobody asked for notices about these recipients.
    fn reroute(&self, envelope: &mut Envelope) {
        if let Some(mailbox) = &self.obligations.redirect {
            envelope.forward_paths = vec![ForwardPath::Mailbox(mailbox.clone())];
            envelope.demands.recipients.clear();
        }
        for mailbox in &self.obligations.bcc {
            let path = ForwardPath::Mailbox(mailbox.clone());
            if !envelope.forward_paths.contains(&path) {
                envelope.forward_paths.push(path);
                if !envelope.demands.recipients.is_empty() {
                    envelope.demands.recipients.push(RecipientRequest::default());
                }
            }
        }
    }
}

/// A path, when it may be written like this.
fn declared(path: &str, smtputf8: bool) -> Result<&str, PathArgumentError> {
    if path.is_ascii() || smtputf8 {
        Ok(path)
    } else {
        Err(PathError::NotAscii.into())
    }
}

/// RFC 5321 section 2.2.1: parameters belong to extensions, those to EHLO, and only what is announced here is taken.
fn check_offered(
    mut keywords: impl Iterator<Item = &'static str>,
    greeting: &Greeting,
    connection: &Connection,
) -> Result<(), Reply> {
    let is_offered = |keyword: &str| Extension::of_parameter(keyword).is_some_and(|one| connection.offers(one));
    match keywords.find(|keyword| !(greeting.is_extended() && is_offered(keyword))) {
        Some(keyword) => Err(replies::bad_parameter(&ParameterError::Unknown(keyword.into()))),
        None => Ok(()),
    }
}

fn message_request(parameters: &MailParameters) -> Result<MessageRequest, ParameterError> {
    let ret = parameters
        .ret
        .as_deref()
        .map(|value| return_of(value).ok_or(ParameterError::BadValue("RET")));
    let envelope_id = parameters.envelope_id.clone();
    if envelope_id.as_deref().is_some_and(|value| !is_envelope_id(value)) {
        return Err(ParameterError::BadValue("ENVID"));
    }
    let ret = ret.transpose()?;
    Ok(MessageRequest { ret, envelope_id })
}

fn recipient_request(parameters: &RecipientParameters, is_utf8: bool) -> Result<RecipientRequest, ParameterError> {
    let notify = |value: &str| notify_of(value).ok_or(ParameterError::BadValue("NOTIFY"));
    let original = |value: &str| original_recipient_of(value, is_utf8).ok_or(ParameterError::BadValue("ORCPT"));
    Ok(RecipientRequest {
        notify: parameters.notify.as_deref().map(notify).transpose()?,
        original_recipient: parameters.original_recipient.as_deref().map(original).transpose()?,
    })
}

fn words_of(parameters: &str) -> Vec<String> {
    parameters.split_ascii_whitespace().map(str::to_owned).collect()
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
