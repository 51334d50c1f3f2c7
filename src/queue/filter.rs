//! Which queued messages are meant: the filters of `queue list` and of every command that acts on what it lists.
//!
//! **Implements** one reading for the command line and the running relay: the filter itself travels between them.
//! **Does not** read a queue: it is asked about one [`Entry`] after the other, so that memory stays flat.

use serde::{Deserialize, Serialize};

use super::entry::{Entry, EntryRecipient};
use crate::policy::glob;
use crate::policy::name_filter::NameFilter;
use crate::time::Timestamp;
use crate::wire::path::ReversePath;

/// No address or domain contains it, so that a `*` runs over everything.
const NO_SEPARATOR: char = '\0';

/// What `hold` of a damaged message begins with.
const DAMAGED: &str = "damaged: ";

/// The state of a message, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not tried yet (Postfix: incoming).
    Waiting,
    /// A delivery has it at this moment (Postfix: active). Known to the running relay only.
    Delivering,
    /// Tried and to be tried again (Postfix: deferred).
    Deferred,
    /// On hold until it is released.
    Hold,
    /// Held because it cannot be delivered as it was taken.
    Damaged,
}

impl State {
    /// The state of a message; `is_leased` tells whether a delivery has it.
    pub fn of(entry: &Entry, is_leased: bool) -> Self {
        match &entry.hold {
            Some(reason) if reason.starts_with(DAMAGED) => Self::Damaged,
            Some(_) => Self::Hold,
            None if is_leased => Self::Delivering,
            None if entry.recipients.iter().any(|recipient| recipient.attempts > 0) => Self::Deferred,
            None => Self::Waiting,
        }
    }

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivering => "delivering",
            Self::Deferred => "deferred",
            Self::Hold => "hold",
            Self::Damaged => "damaged",
        }
    }
}

/// What a message must be; all that is given must hold. Of its recipients one has to match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Reverse-path: an address, a domain, a glob over either, or `<>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// A forward-path, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Scheduling key of a recipient, or a glob over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Subject of the submitter's certificate; see [`NameFilter`]. All must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject: Vec<String>,
    /// Its issuer, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuer: Vec<String>,
    /// Its SHA-256, or the beginning of it; colons and letter case do not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Any of these; every state when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<State>,
    /// Arrived before this time, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrived_before: Option<i64>,
    /// Arrived at this time or later, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrived_since: Option<i64>,
    /// More octets of mail data than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub larger_than: Option<u64>,
    /// Fewer octets of mail data than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smaller_than: Option<u64>,
}

impl Filter {
    /// Whether every message matches.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a message is meant.
    pub fn matches(&self, entry: &Entry, state: State) -> bool {
        self.matches_envelope(entry, state)
            && self.matches_submitter(entry)
            && matches_all(self.recipient.as_ref(), |wanted| {
                let is_it = |r: &EntryRecipient| matches_path(wanted, &r.forward_path.to_string());
                entry.recipients.iter().any(is_it)
            })
            && matches_all(self.destination.as_ref(), |wanted| {
                let is_it = |r: &EntryRecipient| glob::matches(wanted, &r.destination, NO_SEPARATOR);
                entry.recipients.iter().any(is_it)
            })
    }

    fn matches_envelope(&self, entry: &Entry, state: State) -> bool {
        (self.states.is_empty() || self.states.contains(&state))
            && self.arrived_before.is_none_or(|time| entry.arrived < Timestamp(time))
            && self.arrived_since.is_none_or(|time| entry.arrived >= Timestamp(time))
            && self.larger_than.is_none_or(|octets| entry.size_octets > octets)
            && self.smaller_than.is_none_or(|octets| entry.size_octets < octets)
            && matches_all(self.sender.as_ref(), |wanted| match &entry.reverse_path {
                ReversePath::Null => wanted == "<>",
                ReversePath::Mailbox(mailbox) => matches_path(wanted, &mailbox.to_string()),
            })
    }

    fn matches_submitter(&self, entry: &Entry) -> bool {
        let submitter = &entry.submitter;
        let has_all = |wanted: &[String], name: Option<&String>| {
            let has = |text: &String| name.is_some_and(|name| NameFilter::of(text).matches_one_line(name));
            wanted.iter().all(has)
        };
        has_all(&self.subject, submitter.subject.as_ref())
            && has_all(&self.issuer, submitter.issuer.as_ref())
            && matches_all(self.fingerprint.as_ref(), |wanted| {
                let shown = submitter.fingerprint.as_deref().map(hexadecimal);
                shown.is_some_and(|shown| shown.starts_with(&hexadecimal(wanted)))
            })
    }
}

fn matches_all(wanted: Option<&String>, holds: impl FnOnce(&str) -> bool) -> bool {
    wanted.is_none_or(|wanted| holds(wanted))
}

/// An address matches an address or a glob over addresses, or the domain behind its last `@`.
fn matches_path(wanted: &str, address: &str) -> bool {
    let plain = wanted.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    let wanted = plain.unwrap_or(wanted);
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    match wanted.strip_prefix('@') {
        Some(domain_wanted) => glob::matches(domain_wanted, domain, NO_SEPARATOR),
        None if wanted.contains('@') => glob::matches(wanted, address, NO_SEPARATOR),
        None => glob::matches(wanted, domain, NO_SEPARATOR) || wanted.eq_ignore_ascii_case(address),
    }
}

fn hexadecimal(text: &str) -> String {
    let digits = text.chars().filter(|c| *c != ':');
    digits.map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::dsn::RecipientRequest;
    use crate::mail::envelope::{Demands, Submitter};
    use crate::mail::queue_id::QueueId;
    use crate::wire::path::ForwardPath;

    fn entry() -> Entry {
        let submitter = Submitter {
            issuer: Some("/C=FR/O=CNRS/CN=CNRS-Standard".into()),
            subject: Some("/C=FR/O=CNRS/OU=UMR5168/CN=Alice".into()),
            fingerprint: Some("ab:CD:ef".into()),
            login: None,
            ..Submitter::local("test")
        };
        Entry {
            id: QueueId::from_parts(1_800_000_000_000, 1),
            arrived: Timestamp(1000),
            expires: Timestamp(9000),
            size_octets: 500,
            reverse_path: ReversePath::parse("<alice@lab.example.org>").unwrap(),
            submitter,
            demands: Demands::default(),
            hold: None,
            recipients: vec![EntryRecipient {
                number: 0,
                forward_path: ForwardPath::parse("<bob@example.net>").unwrap(),
                request: RecipientRequest::default(),
                destination: "example.net".into(),
                due: Timestamp(1000),
                attempts: 1,
                last_reply: String::new(),
            }],
        }
    }

    #[test]
    fn address_filters_take_addresses_domains_and_globs() {
        for (wanted, is_found) in [
            ("alice@lab.example.org", true),
            ("<ALICE@lab.example.org>", true),
            ("lab.example.org", true),
            ("@lab.example.org", true),
            ("example.org", false),
            ("*.example.org", true),
            ("*@*.example.org", true),
            ("al*@lab*", true),
            ("bob@*", false),
            ("<>", false),
        ] {
            let filter = Filter {
                sender: Some(wanted.into()),
                ..Filter::default()
            };
            assert_eq!(filter.matches(&entry(), State::Waiting), is_found, "{wanted}");
        }
        let mut bounce = entry();
        bounce.reverse_path = ReversePath::Null;
        let null = |wanted: &str| Filter {
            sender: Some(wanted.into()),
            ..Filter::default()
        };
        assert!(null("<>").matches(&bounce, State::Waiting) && !null("*").matches(&bounce, State::Waiting));
    }

    #[test]
    fn everything_that_is_given_must_hold() {
        let all = Filter {
            sender: Some("*@lab.example.org".into()),
            recipient: Some("example.net".into()),
            destination: Some("example.*".into()),
            subject: vec!["OU=UMR5168".into(), "*Alice".into()],
            issuer: vec!["CNRS-Standard".into()],
            fingerprint: Some("ABCD".into()),
            states: vec![State::Hold, State::Deferred],
            arrived_before: Some(1001),
            arrived_since: Some(1000),
            larger_than: Some(499),
            smaller_than: Some(501),
        };
        let entry = entry();
        let state = State::of(&entry, false);
        assert!(all.matches(&entry, state) && !all.is_empty() && Filter::default().matches(&entry, state));
        let less: [fn(&mut Filter); 8] = [
            |f| f.recipient = Some("example.org".into()),
            |f| f.destination = Some("example.org".into()),
            |f| f.subject.push("OU=UMR1".into()),
            |f| f.issuer.push("Plus".into()),
            |f| f.fingerprint = Some("cd".into()),
            |f| f.states = vec![State::Waiting],
            |f| f.arrived_before = Some(1000),
            |f| f.larger_than = Some(500),
        ];
        for (number, change) in less.into_iter().enumerate() {
            let mut filter = all.clone();
            change(&mut filter);
            assert!(!filter.matches(&entry, state), "{number}");
        }
    }

    #[test]
    fn state_is_told_by_hold_lease_and_attempts() {
        let mut entry = entry();
        assert_eq!(State::of(&entry, true), State::Delivering);
        assert_eq!(State::of(&entry, false), State::Deferred);
        entry.recipients.clear();
        assert_eq!(State::of(&entry, false), State::Waiting);
        entry.hold = Some("damaged: its data".into());
        assert_eq!(State::of(&entry, true).word(), "damaged");
        entry.hold = Some("by the operator".into());
        assert_eq!(State::of(&entry, true), State::Hold);
    }
}
