//! What a session asks of others than the queue: the holder's allowance, the outside world.

use std::sync::{Arc, PoisonError};

use super::driver::{Driver, Flow};
use super::waiting::{Asking, ReadAhead};
use crate::io::clock;
use crate::io::questions::unanswered;
use crate::net;
use crate::policy::limits::Charge;
use crate::policy::question::{Answer, PeerNames, Question};
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

    /// Begins to ask; the loop of the session takes the answer, so that deadlines, a stop and the peer's going are seen
    /// meanwhile.
    pub(super) fn ask(&mut self, question: Question) -> Flow {
        let asked: Asking<Answer> = match question {
            Question::PeerNames(address) if address == net::canonical(self.peer.ip()) => {
                let names = self.look_up_names();
                Box::pin(async move { Answer::PeerNames(names.await) })
            }
            ref question => {
                let (questions, question) = (Arc::clone(&self.inbound.questions), question.clone());
                Box::pin(async move { questions.answer(&question).await })
            }
        };
        let stopping = self.stopping.clone();
        self.asking = Some(Box::pin(async move {
            tokio::select! {
                answer = asked => answer,
                // A message whose end has come is refused for now rather than waited for.
                () = stopping.cancelled() => unanswered(&question, "the relay is stopping"),
            }
        }));
        Flow::Continue
    }

    /// The names of the peer, looked up once whoever asks.
    pub(super) fn look_up_names(&self) -> Asking<PeerNames> {
        let (names, questions) = (Arc::clone(&self.names), Arc::clone(&self.inbound.questions));
        let address = net::canonical(self.peer.ip());
        Box::pin(async move { names.get_or_init(|| questions.peer_names(address)).await.clone() })
    }

    pub(super) fn take_answer(&mut self, answer: Answer) {
        self.asking = None;
        self.ahead = ReadAhead::default();
        self.session.handle_answer(answer, clock::now());
    }

    /// Whether the socket is read although the session waits: only so is it seen that the peer has gone.
    pub(super) fn may_read_ahead(&self) -> bool {
        self.asking.is_some() && self.ahead.has_room()
    }
}
