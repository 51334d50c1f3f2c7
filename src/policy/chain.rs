//! The evaluation of the restriction lists.
//!
//! **Implements** the order of postconf(5): client, helo and sender lists at RCPT with `smtpd_delay_reject`, or at their own
//! stages; relay restrictions, then recipient restrictions (`smtpd_relay_before_recipient_restrictions`); data and
//! end-of-data lists. A list that is empty has no opinion. Only the relay and recipient lists permit a recipient; the end of
//! one of them that is not empty is a refusal, where Postfix permits. A permission is bound to the limits and the From header
//! of every certificate rule on the way whose conditions held.

use super::asker::Asker;
use super::facts::{Facts, Lists};
use super::question::Question;
use super::restriction::Restriction;
use super::stage::{List, Stage};
use super::verdict::{Opinion, Verdict};
use super::walk::Walk;

/// All lists and what they refer to.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// `smtpd_client_restrictions`.
    pub client: Vec<Restriction>,
    /// `smtpd_helo_restrictions`.
    pub hello: Vec<Restriction>,
    /// `smtpd_sender_restrictions`.
    pub sender: Vec<Restriction>,
    /// `smtpd_relay_restrictions`.
    pub relay: Vec<Restriction>,
    /// `smtpd_recipient_restrictions`.
    pub recipient: Vec<Restriction>,
    /// `smtpd_data_restrictions`.
    pub data: Vec<Restriction>,
    /// `smtpd_end_of_data_restrictions`.
    pub end_of_data: Vec<Restriction>,
    /// `smtpd_delay_reject = no`: the first three lists are asked at their own stages.
    pub refuses_early: bool,
    /// `smtpd_relay_before_recipient_restrictions = no`.
    pub recipient_before_relay: bool,
    /// `mynetworks`, `relay_domains`, `relay_clientcerts` and the rest.
    pub lists: Lists,
}

/// What came of the lists of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "made once a step and taken apart at once")]
pub enum Evaluation {
    /// The decision.
    Decided(Verdict),
    /// Ask this, add the answer to the facts and evaluate again.
    Ask(Question),
}

impl Chain {
    /// The elements of a list.
    pub fn list(&self, list: List) -> &[Restriction] {
        match list {
            List::Client => &self.client,
            List::Hello => &self.hello,
            List::Sender => &self.sender,
            List::Relay => &self.relay,
            List::Recipient => &self.recipient,
            List::Data => &self.data,
            List::EndOfData => &self.end_of_data,
        }
    }

    /// The lists that are asked at a stage, in order.
    pub fn lists_at(&self, stage: Stage) -> Vec<List> {
        let early = self.refuses_early;
        match stage {
            Stage::Connect if early => vec![List::Client],
            Stage::Hello if early => vec![List::Hello],
            Stage::Mail if early => vec![List::Sender],
            Stage::Connect | Stage::Hello | Stage::Mail => Vec::new(),
            Stage::Recipient => {
                let mut lists = if early {
                    Vec::new()
                } else {
                    vec![List::Client, List::Hello, List::Sender]
                };
                lists.extend(if self.recipient_before_relay {
                    [List::Recipient, List::Relay]
                } else {
                    [List::Relay, List::Recipient]
                });
                lists
            }
            Stage::Data => vec![List::Data],
            Stage::EndOfData => vec![List::EndOfData],
        }
    }

    /// Evaluates the lists of a stage. Only those of [`Stage::Recipient`] permit anything; at the other stages a verdict that
    /// is neither Reject nor Defer lets the dialogue go on.
    pub fn evaluate(&self, stage: Stage, facts: &Facts<'_>) -> Evaluation {
        let facts = Facts { stage, ..*facts };
        let mut walk = Walk::default();
        match self.walk(stage, &facts, &mut walk) {
            Ok(opinion) => Evaluation::Decided(walk.verdict(opinion, &facts)),
            Err(question) => Evaluation::Ask(*question),
        }
    }

    /// Decides on one recipient with what is known. A question that stays open is a refusal for now; the trace tells what was
    /// asked until then, and the question.
    pub fn decide(&self, facts: &Facts<'_>) -> Verdict {
        let facts = Facts {
            stage: Stage::Recipient,
            ..*facts
        };
        let mut walk = Walk::default();
        match self.walk(Stage::Recipient, &facts, &mut walk) {
            Ok(opinion) => walk.verdict(opinion, &facts),
            Err(question) => walk.open(&question, &facts),
        }
    }

    /// Both lists that decide must permit when both are given; with neither, nothing is permitted.
    fn walk(&self, stage: Stage, facts: &Facts<'_>, walk: &mut Walk) -> Result<Opinion, Box<Question>> {
        let mut opinion = Opinion::Pass;
        let asker = |list| Asker {
            lists: &self.lists,
            facts,
            list,
        };
        for list in self.lists_at(stage) {
            let restrictions = self.list(list);
            if restrictions.is_empty() {
                continue;
            }
            let said = walk.list(&asker(list), restrictions)?;
            if matches!(said, Opinion::Reject | Opinion::Defer) {
                return Ok(said);
            }
            if list.permits_recipients() {
                opinion = said;
            }
        }
        if stage != Stage::Recipient {
            return Ok(Opinion::Pass);
        }
        if opinion != Opinion::Permit {
            return Ok(Opinion::Reject);
        }
        Ok(walk.unlisted(&asker(List::Recipient)).unwrap_or(opinion))
    }
}
