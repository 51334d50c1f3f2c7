//! What a session asks of others than the queue: the holder's allowance, the outside world.

use std::sync::PoisonError;

use super::driver::{Driver, Flow};
use crate::io::clock;
use crate::policy::limits::Charge;
use crate::policy::question::{Answer, Found, PeerNames, Question};
use crate::queue::Store;

impl<S: Store> Driver<'_, S> {
    /// Answers with the holder's allowance; counting never waits.
    pub(super) fn charge(&mut self, charge: &Charge) -> Flow {
        let allowance = {
            let mut counters = self.inbound.counters.lock().unwrap_or_else(PoisonError::into_inner);
            counters.charge(charge, clock::timestamp())
        };
        self.session.handle_charged(allowance, clock::now());
        Flow::Continue
    }

    /// Nothing is asked yet: nobody knows.
    pub(super) fn ask(&mut self, question: &Question) -> Flow {
        let unknown = String::from("not asked");
        let answer = match question {
            Question::Addresses { .. } => Answer::Addresses(Found::Failed(unknown)),
            Question::MailExchangers(_) => Answer::MailExchangers(Found::Failed(unknown)),
            Question::Texts(_) => Answer::Texts(Found::Failed(unknown)),
            Question::PeerNames(_) => Answer::PeerNames(PeerNames {
                reverse: Found::Failed(unknown.clone()),
                verified: Found::Failed(unknown),
            }),
            Question::Service { .. } => Answer::Service(Err(unknown)),
        };
        self.session.handle_answer(answer, clock::now());
        Flow::Continue
    }
}
