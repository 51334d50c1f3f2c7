//! What a reply, or the lack of one, means for a recipient.
//!
//! **Implements** RFC 5321 section 4.2.1 (the first digit decides), RFC 3463 (a status code for every report).

use crate::mail::outcome::{Outcome, Report};
use crate::wire::reply::Reply;

/// The longest text of a report, octets.
const REPORT_OCTETS_MAX: usize = 1000;

/// The fate of one recipient in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Fate {
    /// What became of it.
    pub outcome: Outcome,
    /// Whether another target may be tried at once; only ever true of a deferred one.
    pub elsewhere: bool,
    /// Whether the peer takes it in another transaction: it was not said yet.
    pub is_postponed: bool,
}

/// Whether another target may take what this one would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// It may.
    Yes,
    /// It must not be tried now.
    No,
}

impl Fate {
    /// What the reply of `remote` says.
    pub fn of_reply(remote: &str, reply: &Reply) -> Self {
        let report = report_of(remote, reply);
        let outcome = match reply.code {
            200..=299 => Outcome::Relayed(report),
            500..=599 => Outcome::Failed(report),
            _ => Outcome::Deferred(report),
        };
        let elsewhere = !outcome.is_final();
        Self {
            outcome,
            elsewhere,
            is_postponed: false,
        }
    }

    /// What the reply says, taken for transient whatever its code.
    pub fn softened(remote: &str, reply: &Reply, elsewhere: Elsewhere) -> Self {
        let mut report = report_of(remote, reply);
        report.status = report
            .status
            .split_once('.')
            .map_or_else(|| String::from("4.0.0"), |(_, rest)| format!("4.{rest}"));
        Self {
            outcome: Outcome::Deferred(report),
            elsewhere: elsewhere == Elsewhere::Yes,
            is_postponed: false,
        }
    }

    /// Deferred in our own words.
    pub fn deferred(remote: &str, status: &str, text: &str, elsewhere: Elsewhere) -> Self {
        Self {
            outcome: Outcome::Deferred(own_report(remote, status, text)),
            elsewhere: elsewhere == Elsewhere::Yes,
            is_postponed: false,
        }
    }

    /// Failed in our own words.
    pub fn failed(remote: &str, status: &str, text: &str) -> Self {
        Self {
            outcome: Outcome::Failed(own_report(remote, status, text)),
            elsewhere: false,
            is_postponed: false,
        }
    }

    /// Not said: the peer takes no more recipients in one transaction (RFC 9422, RCPTMAX).
    pub fn postponed(remote: &str) -> Self {
        Self {
            is_postponed: true,
            ..Self::deferred(remote, "4.5.3", "left for another transaction", Elsewhere::Yes)
        }
    }
}

fn report_of(remote: &str, reply: &Reply) -> Report {
    let status = reply
        .status
        .map_or_else(|| format!("{}.0.0", reply.code / 100), |status| status.to_string());
    Report {
        from_remote: true,
        ..own_report(remote, &status, &reply.to_string())
    }
}

fn own_report(remote: &str, status: &str, text: &str) -> Report {
    // A reply may be 128 lines of 2048 octets; no log, queue or bounce needs that.
    let end = text.floor_char_boundary(REPORT_OCTETS_MAX);
    Report {
        remote: remote.to_owned(),
        status: status.to_owned(),
        text: text.get(..end).unwrap_or(text).to_owned(),
        from_remote: false,
    }
}
