//! MAIL and RCPT: the envelope as it grows.
//!
//! **Implements** RFC 5321 sections 4.1.1.2 and 4.1.1.3, the declared size of RFC 1870 section 6.1,
//! `smtpd_recipient_limit`. The chain decides on every recipient.

use std::sync::Arc;

use super::connection::Connection;
use super::event::Event;
use super::replies;
use super::settings::SessionSettings;
use crate::mail::envelope::{Body, Envelope, Submitter};
use crate::net;
use crate::policy::facts::Facts;
use crate::time::Now;
use crate::wire::command::split_path_argument;
use crate::wire::parameters::{BodyType, MailParameters, parse_rcpt_parameters};
use crate::wire::path::{ForwardPath, ReversePath};
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
    /// Whether any RCPT was refused.
    pub(super) has_refused: bool,
    body: Body,
    overshoot: usize,
}

/// Recipients past `smtpd_recipient_limit` that are not counted as errors (`smtpd_recipient_overshoot_limit`): RFC
/// 5321 section 4.5.3.1.10 lets a client send on and keep those that were taken.
const RECIPIENTS_OVERSHOOT_MAX: usize = 1000;

impl Transaction {
    /// Begins a transaction with the argument of MAIL.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn begin(argument: &str, settings: &SessionSettings, has_space: bool) -> Result<Self, Reply> {
        let (path, parameters) = split_path_argument(argument, "FROM:").map_err(replies::bad_reverse_path)?;
        let reverse_path = ReversePath::parse(path).map_err(|why| replies::bad_reverse_path(why.into()))?;
        let parameters = MailParameters::parse(parameters).map_err(|why| replies::bad_parameter(&why))?;
        let limit = settings.message_size_octets_max;
        if limit > 0 && parameters.size_octets.is_some_and(|size| size > limit) {
            return Err(replies::too_big());
        }
        if !has_space {
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
    pub(super) fn read_recipient(argument: &str) -> Result<ForwardPath, Reply> {
        let (path, parameters) = split_path_argument(argument, "TO:").map_err(replies::bad_forward_path)?;
        let forward_path = ForwardPath::parse(path).map_err(|why| replies::bad_forward_path(why.into()))?;
        parse_rcpt_parameters(parameters).map_err(|why| replies::bad_parameter(&why))?;
        Ok(forward_path)
    }

    /// Lets the chain decide on a recipient, records the decision and returns the reply.
    pub(super) fn decide(
        &mut self,
        forward_path: ForwardPath,
        hello: &str,
        connection: &mut Connection,
        now: Now,
    ) -> Reply {
        let verdict = connection.chain.evaluate(&Facts {
            peer: net::canonical(connection.peer.ip()),
            hello,
            identity: &connection.identity,
            reverse_path: &self.reverse_path,
            forward_path: &forward_path,
            now_unix_seconds: now.wall.seconds(),
        });
        let reference = connection.next_reference();
        let reply = replies::reply_for(&verdict, &forward_path, &reference);
        if verdict.is_permit() {
            self.permitted = self.permitted.saturating_add(1);
            verdict.decided_by().clone_into(&mut self.decided_by);
            if !self.forward_paths.contains(&forward_path) {
                self.forward_paths.push(forward_path.clone());
            }
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
                decided_by: self.decided_by.clone(),
            },
            hold: None,
        }
    }
}
