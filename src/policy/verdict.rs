//! A decision and its reasons.

use std::sync::Arc;

pub use super::because::Because;
use super::limits::Limit;
pub use super::refusal::Refusal;
use super::sender_binding::SenderBinding;
use crate::cert::identity::Why;
use crate::wire::path::Mailbox;

/// What one restriction says. Postfix: OK, REJECT, DEFER, DUNNO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Opinion {
    /// Ends the list: permitted.
    Permit,
    /// Ends the list: refused for good.
    Reject,
    /// Ends the list: refused for now.
    Defer,
    /// No opinion; the next one is asked.
    Pass,
    /// No opinion, but what is permitted in the end is refused for now: something could not be found out.
    DeferIfPermit,
    /// No opinion, but what is refused for good in the end is refused for now.
    DeferIfReject,
    /// It would refuse, but for `warn_if_reject`; or a table wants this to be logged.
    Warn,
}

/// One restriction asked: where it stands, what it said, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The directive it stands in.
    pub list: &'static str,
    /// As written in the configuration.
    pub restriction: String,
    /// What it said.
    pub opinion: Opinion,
    /// Why.
    pub because: Because,
}

/// The decision on one recipient, with the trace of all that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// Permit, Reject or Defer.
    pub opinion: Opinion,
    /// In the order asked; the last one decided.
    pub trace: Vec<Step>,
    /// Why the certificate that was shown did not verify: what the user can act on.
    pub certificate_fault: Option<Why>,
    /// What a refusal says.
    pub refusal: Refusal,
    /// What a permission is bound to.
    pub obligations: Obligations,
}

/// What a permission is bound to: decided when the message is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obligations {
    /// Bindings with `from_header`, of the rules whose conditions held; every one must own every address of From.
    pub from_header: Vec<Arc<SenderBinding>>,
    /// Limits of the rules whose conditions held.
    pub limits: Vec<Arc<Limit>>,
    /// HOLD: why the message waits for the postmaster.
    pub hold: Option<String>,
    /// DISCARD: why the message is taken and thrown away.
    pub discard: Option<String>,
    /// PREPEND: header fields before everything else, without line ends.
    pub prepend: Vec<String>,
    /// REDIRECT: the only recipient.
    pub redirect: Option<Mailbox>,
    /// BCC: recipients that come in addition.
    pub bcc: Vec<Mailbox>,
}

/// Header fields, or further recipients, that tables add to one message at most.
const ADDED_MAX: usize = 100;

impl Obligations {
    /// Takes what another restriction or recipient adds; each thing once.
    pub fn add(&mut self, more: &Self) {
        add_each_once(&mut self.from_header, &more.from_header);
        add_each_once(&mut self.limits, &more.limits);
        add_each_once(&mut self.prepend, &more.prepend);
        add_each_once(&mut self.bcc, &more.bcc);
        self.hold = self.hold.take().or_else(|| more.hold.clone());
        self.discard = self.discard.take().or_else(|| more.discard.clone());
        // The last one counts, as in Postfix.
        self.redirect = more.redirect.clone().or_else(|| self.redirect.take());
    }
}

fn add_each_once<T: Clone + PartialEq>(known: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !known.contains(one) && known.len() < ADDED_MAX {
            known.push(one.clone());
        }
    }
}

impl Verdict {
    /// No list had anything to say.
    pub fn of_nobody() -> Self {
        Self {
            opinion: Opinion::Pass,
            trace: Vec::new(),
            certificate_fault: None,
            refusal: Refusal::default(),
            obligations: Obligations::default(),
        }
    }

    /// The lists asked too much: a refusal for the time being.
    pub fn of_too_many_questions() -> Self {
        Self {
            opinion: Opinion::Defer,
            trace: vec![Step {
                list: "",
                restriction: "question limit".into(),
                opinion: Opinion::Defer,
                because: Because::TooManyQuestions,
            }],
            ..Self::of_nobody()
        }
    }

    /// Whether it refuses, for good or for now.
    pub fn is_refusal(&self) -> bool {
        matches!(self.opinion, Opinion::Reject | Opinion::Defer)
    }

    /// Whether the recipient is taken.
    pub fn is_permit(&self) -> bool {
        self.opinion == Opinion::Permit
    }

    /// The restriction that decided, as written.
    pub fn decided_by(&self) -> &str {
        self.trace
            .last()
            .map_or("end of list", |step| step.restriction.as_str())
    }

    /// Why it decided so.
    pub fn because(&self) -> &Because {
        self.trace.last().map_or(&Because::EndOfList, |step| &step.because)
    }
}

impl Opinion {
    /// For logs and `explain`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Reject => "reject",
            Self::Defer => "defer",
            Self::Pass => "pass",
            Self::DeferIfPermit => "defer_if_permit",
            Self::DeferIfReject => "defer_if_reject",
            Self::Warn => "warn",
        }
    }
}
