//! A decision as it is recorded and printed: one JSON object, whose fields docs/explain.md lists.
//!
//! **Implements** the records of the decision journal, and the trace that `estafette explain --json` and
//! `estafette why --json` share. A field once published keeps its name and meaning; new ones may be added.
//! **Does not** hold mail data, nor bound its own length: `decision_line` does.

use serde::{Deserialize, Serialize};

use crate::cert::certificate::Certificate;
use crate::cert::name::{DistinguishedName, short_name};
use crate::policy::certificate_rule::Finding;
use crate::policy::verdict::{Opinion, Step, Verdict};
use crate::session::event::{Event, MessageFault, Origin};
use crate::time::Timestamp;
use crate::wire::path::{ForwardPath, ReversePath};
use crate::wire::reply::Reply;

/// What decides when a content filter does.
const FILTERS: &str = "smtpd_milters";

/// What a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The decision on one recipient.
    Recipient,
    /// A message that was queued: its id and the decisions that let it in.
    Message,
    /// A refusal of something else than a recipient: a message, AUTH, a session.
    Refusal,
}

/// A verdict in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictWord {
    /// Let through.
    Permit,
    /// Refused for good.
    Reject,
    /// Refused for now.
    Defer,
    /// Queued, and waiting for the postmaster.
    Hold,
    /// Answered 250 and thrown away, as a content filter or an access table had it.
    Discard,
}

/// One record of the decision journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What it tells of.
    pub kind: Kind,
    /// RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// As it stands in the reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The message's id, in a record of kind `message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<String>,
    /// The decisions on its recipients, in a record of kind `message`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// The session.
    pub session_id: String,
    /// The listener's name.
    pub listener: String,
    /// Address and port.
    pub peer: String,
    /// `plaintext`, `no_certificate`, `unverified`, `verified`.
    pub identity: String,
    /// The name that AUTH with a password proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// Why the certificate did not verify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The certificate shown, verified or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateRecord>,
    /// MAIL FROM without brackets, empty for the null one; absent before MAIL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse_path: Option<String>,
    /// RCPT TO without brackets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward_paths: Vec<String>,
    /// In one word.
    pub verdict: VerdictWord,
    /// The restriction or rule, as written.
    pub decided_by: String,
    /// Why.
    pub because: String,
    /// Every restriction asked, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<TraceStep>,
    /// What was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// Octets of mail data, in a record of a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_octets: Option<u64>,
    /// Whether something long was left out to bound the record.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_shortened: bool,
}

/// One restriction asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStep {
    /// The directive that the restriction stands in.
    pub list: String,
    /// As written.
    pub restriction: String,
    /// `permit`, `reject`, `defer`, `pass`, `defer_if_permit`, `defer_if_reject`, `warn`.
    pub opinion: String,
    /// In words.
    pub because: String,
    /// How the conditions of a `[[certificate_rule]]` came out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<TraceFinding>,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceFinding {
    /// Its key: `subject.OU`.
    pub condition: String,
    /// What the rule wants.
    pub wanted: String,
    /// What the certificate holds.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
    /// For `not` and `any`: the conditions inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<TraceFinding>,
}

/// What is recorded of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// One-line text.
    pub issuer: String,
    /// One-line text.
    pub subject: String,
    /// The issuer's attributes in order.
    pub issuer_attributes: Vec<AttributeRecord>,
    /// The subject's attributes in order.
    pub subject_attributes: Vec<AttributeRecord>,
    /// Upper-case hexadecimal with colons.
    pub serial: String,
    /// SHA-256 of the certificate, in the same form.
    pub sha256: String,
    /// Seconds since 1970.
    pub not_before_unix_seconds: i64,
    /// Seconds since 1970.
    pub not_after_unix_seconds: i64,
    /// SAN rfc822Name.
    pub mail_addresses: Vec<String>,
    /// SAN User Principal Name.
    pub user_principal_names: Vec<String>,
}

/// One attribute of a name, its value decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeRecord {
    /// Dotted OID.
    pub oid: String,
    /// Short name, or the OID again.
    #[serde(rename = "type")]
    pub attribute_type: String,
    /// The value.
    pub value: String,
}

impl Decision {
    /// The record of an event, when it tells of a decision: the one place that knows which events do.
    pub fn of(event: &Event, at: Timestamp) -> Option<Self> {
        let decision = match event {
            Event::RecipientDecided {
                origin,
                reference,
                reverse_path,
                forward_path,
                verdict,
                reply,
            } => Self::of_recipient(origin, reference, (reverse_path, forward_path), verdict, reply),
            Event::MessageQueued {
                origin,
                id,
                size_octets,
                reverse_path,
                forward_paths,
                decided_by,
                references,
                hold,
            } => Self {
                queue_id: Some(id.to_string()),
                references: references.clone(),
                forward_paths: forward_paths.iter().map(ToString::to_string).collect(),
                size_octets: Some(*size_octets),
                reverse_path: Some(reverse_path.to_string()),
                decided_by: decided_by.clone(),
                because: hold.clone().unwrap_or_default(),
                verdict: if hold.is_some() {
                    VerdictWord::Hold
                } else {
                    VerdictWord::Permit
                },
                ..Self::by(origin, Kind::Message)
            },
            refusal => Self::of_refusal(refusal)?,
        };
        Some(Self {
            time: at.rfc3339_millis(),
            ..decision
        })
    }

    /// A message, AUTH or a session that policy refused.
    // tidy: table
    fn of_refusal(event: &Event) -> Option<Self> {
        Some(match event {
            Event::MessageRejected {
                origin,
                reverse_path,
                forward_paths,
                size_octets,
                because,
                reference: Some(reference),
                reply,
            } => Self {
                forward_paths: forward_paths.iter().map(ToString::to_string).collect(),
                size_octets: Some(*size_octets),
                reverse_path: Some(reverse_path.to_string()),
                decided_by: because.decided_by().to_owned(),
                trace: match because {
                    MessageFault::Restriction(_, verdict) => trace(verdict),
                    _ => Vec::new(),
                },
                ..Self::refusal(origin, reference, &because.to_string(), reply)
            },
            Event::StageRejected {
                origin,
                reference,
                reverse_path,
                verdict,
                reply,
                ..
            } => Self {
                why: verdict.certificate_fault.map(|why| why.to_string()),
                reverse_path: reverse_path.as_ref().map(ToString::to_string),
                decided_by: verdict.decided_by().to_owned(),
                trace: trace(verdict),
                ..Self::refusal(origin, reference, &verdict.because().to_string(), reply)
            },
            Event::FilterRejected {
                origin,
                reference,
                reverse_path,
                forward_path,
                refusal,
                ..
            } => Self {
                forward_paths: forward_path.iter().map(ToString::to_string).collect(),
                reverse_path: reverse_path.as_ref().map(ToString::to_string),
                decided_by: FILTERS.to_owned(),
                ..Self::refusal(origin, reference, &refusal.to_string(), &refusal.reply)
            },
            Event::MessageDiscarded {
                origin,
                reference,
                id,
                decided_by,
                because,
                size_octets,
                reverse_path,
                forward_paths,
                reply,
            } => Self {
                queue_id: id.map(|id| id.to_string()),
                forward_paths: forward_paths.iter().map(ToString::to_string).collect(),
                size_octets: Some(*size_octets),
                reverse_path: Some(reverse_path.to_string()),
                decided_by: (*decided_by).to_owned(),
                verdict: VerdictWord::Discard,
                ..Self::refusal(origin, reference, because, reply)
            },
            Event::SessionRejected {
                origin,
                reference,
                because,
                reply,
            } => Self {
                decided_by: "smtpd_tls_req_ccert".to_owned(),
                ..Self::refusal(origin, reference, &because.to_string(), reply)
            },
            Event::AuthenticationRejected {
                origin,
                reference,
                because,
                reply,
            } => Self {
                decided_by: because.decided_by().to_owned(),
                ..Self::refusal(origin, reference, &because.to_string(), reply)
            },
            _ => return None,
        })
    }

    fn of_recipient(
        origin: &Origin,
        reference: &str,
        (reverse_path, forward_path): (&ReversePath, &ForwardPath),
        verdict: &Verdict,
        reply: &Reply,
    ) -> Self {
        Self {
            reference: Some(reference.to_owned()),
            why: verdict.certificate_fault.map(|why| why.to_string()),
            reverse_path: Some(reverse_path.to_string()),
            forward_paths: vec![forward_path.to_string()],
            verdict: VerdictWord::of(verdict.opinion),
            decided_by: verdict.decided_by().to_owned(),
            because: verdict.because().to_string(),
            trace: trace(verdict),
            reply: Some(reply.to_string()),
            ..Self::by(origin, Kind::Recipient)
        }
    }

    /// A refusal of something else than a recipient.
    fn refusal(origin: &Origin, reference: &str, because: &str, reply: &Reply) -> Self {
        Self {
            reference: Some(reference.to_owned()),
            because: because.to_owned(),
            verdict: if reply.is_transient() {
                VerdictWord::Defer
            } else {
                VerdictWord::Reject
            },
            reply: Some(reply.to_string()),
            ..Self::by(origin, Kind::Refusal)
        }
    }

    /// The fields that tell who.
    fn by(origin: &Origin, kind: Kind) -> Self {
        Self {
            kind,
            time: String::new(),
            reference: None,
            queue_id: None,
            references: Vec::new(),
            session_id: origin.session_id.clone(),
            listener: origin.listener.clone(),
            peer: origin.peer.to_string(),
            identity: origin.identity.to_owned(),
            login: origin.login.clone(),
            why: None,
            certificate: origin.certificate.as_deref().map(CertificateRecord::of),
            reverse_path: None,
            forward_paths: Vec::new(),
            verdict: VerdictWord::Permit,
            decided_by: String::new(),
            because: String::new(),
            trace: Vec::new(),
            reply: None,
            size_octets: None,
            is_shortened: false,
        }
    }
}

/// The steps of a verdict.
pub fn trace(verdict: &Verdict) -> Vec<TraceStep> {
    verdict.trace.iter().map(TraceStep::of).collect()
}

impl TraceStep {
    fn of(step: &Step) -> Self {
        let findings = step.because.conditions().iter().map(TraceFinding::of).collect();
        Self {
            list: step.list.to_owned(),
            restriction: step.restriction.clone(),
            opinion: step.opinion.word().to_owned(),
            because: step.because.to_string(),
            findings,
        }
    }
}

impl TraceFinding {
    fn of(finding: &Finding) -> Self {
        Self {
            condition: finding.condition.clone(),
            wanted: finding.wanted.clone(),
            found: finding.found.clone(),
            holds: finding.holds,
            inner: finding.inner.iter().map(Self::of).collect(),
        }
    }
}

impl CertificateRecord {
    /// What is recorded of this certificate.
    pub fn of(certificate: &Certificate) -> Self {
        Self {
            issuer: certificate.issuer.one_line(),
            subject: certificate.subject.one_line(),
            issuer_attributes: attributes(&certificate.issuer),
            subject_attributes: attributes(&certificate.subject),
            serial: certificate.serial.clone(),
            sha256: certificate.fingerprint.clone(),
            not_before_unix_seconds: certificate.not_before_seconds,
            not_after_unix_seconds: certificate.not_after_seconds,
            mail_addresses: certificate.mail_addresses.clone(),
            user_principal_names: certificate.user_principal_names.clone(),
        }
    }
}

fn attributes(name: &DistinguishedName) -> Vec<AttributeRecord> {
    let all = name.0.iter().flat_map(|rdn| &rdn.0);
    all.map(|attribute| AttributeRecord {
        oid: attribute.oid.clone(),
        attribute_type: short_name(&attribute.oid).to_owned(),
        value: attribute.value.clone(),
    })
    .collect()
}

impl VerdictWord {
    /// The word for an opinion that ended a list.
    pub const fn of(opinion: Opinion) -> Self {
        match opinion {
            Opinion::Permit => Self::Permit,
            Opinion::Defer => Self::Defer,
            _ => Self::Reject,
        }
    }

    /// As it is printed.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Reject => "reject",
            Self::Defer => "defer",
            Self::Hold => "hold",
            Self::Discard => "discard",
        }
    }
}
