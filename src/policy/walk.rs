//! The way through the lists of one stage, and what comes together on it.
//!
//! **Implements** classes, `warn_if_reject`, DEFER_IF_PERMIT and DEFER_IF_REJECT of postconf(5) and access(5).

use super::answer::Answer;
use super::asker::Asker;
use super::facts::Facts;
use super::question::Question;
use super::refusal::Refusal;
use super::restriction::Restriction;
use super::verdict::{Because, Obligations, Opinion, Step, Verdict};
use super::word::Word;
use crate::cert::identity::Identity;

/// How deeply classes and tables may name each other; the configuration finds circles when it is read.
pub(super) const DEPTH_MAX: usize = 16;

/// Steps of one way at most: what a table or a service names is asked again and again otherwise.
const STEPS_MAX: usize = 1000;

/// What has come together.
#[derive(Default)]
pub(super) struct Walk {
    trace: Vec<Step>,
    refusal: Refusal,
    obligations: Obligations,
    /// The step that said so, and what the refusal says.
    defer_if_permit: Option<(Step, Refusal)>,
    defer_if_reject: Option<(Step, Refusal)>,
}

/// Whether a refusal refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Force {
    Refuses,
    WarnsOnly,
}

impl Walk {
    /// Asks a whole list: Permit, Reject or Defer when one decides. The end of a list that decides who may relay is a
    /// refusal; of every other list it is no opinion.
    pub(super) fn list(&mut self, asker: &Asker<'_>, restrictions: &[Restriction]) -> Result<Opinion, Box<Question>> {
        let opinion = self.all(asker, restrictions, Force::Refuses, 0)?;
        if opinion != Opinion::Pass || !asker.list.permits_recipients() {
            return Ok(opinion);
        }
        self.refusal = Refusal::RelayDenied;
        self.trace.push(Step {
            list: asker.list.name(),
            restriction: "end of list".into(),
            opinion: Opinion::Reject,
            because: Because::EndOfList,
        });
        Ok(Opinion::Reject)
    }

    fn all(
        &mut self,
        asker: &Asker<'_>,
        restrictions: &[Restriction],
        force: Force,
        depth: usize,
    ) -> Result<Opinion, Box<Question>> {
        for restriction in restrictions {
            let opinion = self.one(asker, restriction, force, depth)?;
            if opinion != Opinion::Pass {
                return Ok(opinion);
            }
        }
        Ok(Opinion::Pass)
    }

    fn one(
        &mut self,
        asker: &Asker<'_>,
        restriction: &Restriction,
        force: Force,
        depth: usize,
    ) -> Result<Opinion, Box<Question>> {
        if depth > DEPTH_MAX || self.trace.len() > STEPS_MAX {
            let mut answer = asker.misconfigured(&restriction.to_string());
            answer.because = Because::TooDeep;
            return Ok(self.take(asker, restriction, answer, Force::Refuses));
        }
        match restriction {
            Restriction::WarnIfReject(inner) => self.one(asker, inner, Force::WarnsOnly, depth),
            Restriction::Class(_, inner) => {
                let _ = self.take(asker, restriction, asker.ask(restriction)?, force);
                self.all(asker, inner, force, depth.saturating_add(1))
            }
            _ => {
                let mut answer = asker.ask(restriction)?;
                let then = std::mem::take(&mut answer.then);
                let opinion = self.take(asker, restriction, answer, force);
                if opinion != Opinion::Pass || then.is_empty() {
                    return Ok(opinion);
                }
                let opinion = self.named(asker, restriction, &then, (force, depth))?;
                Ok(match asker.permitted_by_named(restriction) {
                    Some(instead) if opinion == Opinion::Permit => self.take(asker, restriction, instead, force),
                    _ => opinion,
                })
            }
        }
    }

    /// What a table or a policy service names.
    fn named(
        &mut self,
        asker: &Asker<'_>,
        by: &Restriction,
        names: &[String],
        (force, depth): (Force, usize),
    ) -> Result<Opinion, Box<Question>> {
        for name in names {
            let depth = depth.saturating_add(1);
            let opinion = if let Some(list) = asker.lists.named.get(name) {
                self.all(asker, list, force, depth)?
            } else if let Some(restriction) = Restriction::simple(name) {
                self.one(asker, &restriction, force, depth)?
            } else {
                self.take(asker, by, asker.misconfigured(name), Force::Refuses)
            };
            if opinion != Opinion::Pass {
                return Ok(opinion);
            }
        }
        Ok(Opinion::Pass)
    }

    /// Takes an answer: what it means for the list is Permit, Reject, Defer or Pass.
    fn take(&mut self, asker: &Asker<'_>, restriction: &Restriction, answer: Answer, force: Force) -> Opinion {
        let is_spared = force == Force::WarnsOnly
            && matches!(
                answer.opinion,
                Opinion::Reject | Opinion::Defer | Opinion::DeferIfPermit
            );
        let (opinion, because) = if is_spared {
            (Opinion::Warn, Because::WouldRefuse(Box::new(answer.because)))
        } else {
            (answer.opinion, answer.because)
        };
        let step = Step {
            list: asker.list.name(),
            restriction: restriction.to_string(),
            opinion,
            because,
        };
        self.trace.push(step.clone());
        self.obligations.add(&answer.obligations);
        match opinion {
            Opinion::DeferIfPermit => {
                self.defer_if_permit.get_or_insert((step, answer.refusal));
                Opinion::Pass
            }
            Opinion::DeferIfReject => {
                self.defer_if_reject.get_or_insert((step, answer.refusal));
                Opinion::Pass
            }
            Opinion::Warn | Opinion::Pass => Opinion::Pass,
            Opinion::Permit | Opinion::Reject | Opinion::Defer => {
                self.refusal = answer.refusal;
                opinion
            }
        }
    }

    /// `smtpd_reject_unlisted_recipient` and `smtpd_reject_unlisted_sender`, behind everything else.
    pub(super) fn unlisted(&mut self, asker: &Asker<'_>) -> Option<Opinion> {
        let lists = asker.lists;
        if lists.rejects_unlisted_recipient && !lists.relay_recipients.is_empty() {
            let restriction = Restriction::Word(Word::RejectUnlistedRecipient);
            let answer = asker.reject_unlisted_recipient();
            if self.take_refusal(asker, &restriction, answer) {
                return self.trace.last().map(|step| step.opinion);
            }
        }
        if lists.rejects_unlisted_sender && !lists.relay_recipients.is_empty() {
            let restriction = Restriction::Word(Word::RejectUnlistedSender);
            let answer = asker.reject_unlisted_sender();
            if self.take_refusal(asker, &restriction, answer) {
                return self.trace.last().map(|step| step.opinion);
            }
        }
        None
    }

    /// A refusal only: the trace of a permission ends with what permitted.
    fn take_refusal(&mut self, asker: &Asker<'_>, restriction: &Restriction, answer: Answer) -> bool {
        let refuses = matches!(answer.opinion, Opinion::Reject | Opinion::Defer);
        if refuses {
            let _ = self.take(asker, restriction, answer, Force::Refuses);
        }
        refuses
    }

    /// A question stays open: a refusal for the time being.
    pub(super) fn open(mut self, question: &Question, facts: &Facts<'_>) -> Verdict {
        self.refusal = Refusal::RelayDenied;
        self.trace.push(Step {
            list: "",
            restriction: "open question".into(),
            opinion: Opinion::Defer,
            because: Because::OpenQuestion(question.to_string()),
        });
        self.verdict(Opinion::Defer, facts)
    }

    /// The decision, once what was put off has had its say.
    pub(super) fn verdict(mut self, opinion: Opinion, facts: &Facts<'_>) -> Verdict {
        let put_off = match opinion {
            Opinion::Permit | Opinion::Pass => self.defer_if_permit.take(),
            Opinion::Reject => self.defer_if_reject.take(),
            _ => None,
        };
        let opinion = match put_off {
            Some((step, refusal)) => {
                self.refusal = refusal;
                self.trace.push(Step {
                    opinion: Opinion::Defer,
                    ..step
                });
                Opinion::Defer
            }
            None => opinion,
        };
        if matches!(opinion, Opinion::Reject | Opinion::Defer) {
            self.obligations = Obligations::default();
        }
        Verdict {
            opinion,
            trace: self.trace,
            certificate_fault: match facts.identity {
                Identity::Unverified { why, .. } => Some(*why),
                _ => None,
            },
            refusal: self.refusal,
            obligations: self.obligations,
        }
    }
}
