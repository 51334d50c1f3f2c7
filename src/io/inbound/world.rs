//! What a session asks of others than the queue: the holder's allowance, the outside world.

use std::future::ready;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::driver::{Driver, Flow};
use super::waiting::{Asking, NAMES_TIME_MAX, ReadAhead, told};
use crate::io::clock;
use crate::io::questions::{DNS_TIME_MAX, unanswered, unknown_names};
use crate::net;
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

    /// Begins to ask; the loop of the session takes the answer, so that deadlines, a stop and the peer's going are seen
    /// meanwhile.
    pub(super) fn ask(&mut self, question: Question) -> Flow {
        self.notice_new_peer();
        let asked: Asking<Answer> = match question {
            Question::PeerNames(address) if address == net::canonical(self.peer.ip()) => {
                let names = self.look_up_names(DNS_TIME_MAX);
                Box::pin(async move { Answer::PeerNames(names.await) })
            }
            ref question => {
                let (questions, question) = (Arc::clone(&self.inbound.questions), question.clone());
                let peer = self.peer.ip();
                Box::pin(async move { questions.answer(&question, peer).await })
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

    /// XCLIENT has named another client, whose names are not those of the proxy.
    pub(super) fn notice_new_peer(&mut self) {
        if self.session.peer() != self.peer {
            self.peer = self.session.peer();
            self.names = Arc::default();
            self.begin_naming();
        }
    }

    /// Begins to look for the peer's name once the peer has said something. What needs no look-up is known at once.
    pub(super) async fn name_peer(&mut self) {
        if self.is_naming {
            return;
        }
        self.begin_naming();
        tokio::select! {
            biased;
            names = told(&mut self.naming) => self.take_names(names),
            () = ready(()) => {}
        }
    }

    fn begin_naming(&mut self) {
        self.is_naming = true;
        self.naming = Some(self.look_up_names(NAMES_TIME_MAX));
    }

    pub(super) fn take_names(&mut self, names: PeerNames) {
        self.naming = None;
        if let Found::Records(names) = names.verified
            && let Some(name) = names.into_iter().next()
        {
            self.session.handle_peer_name(name);
        }
    }

    /// The names of the peer, looked up once whoever asks; nobody knows them when it takes longer than this.
    pub(super) fn look_up_names(&self, at_most: Duration) -> Asking<PeerNames> {
        let (names, questions) = (Arc::clone(&self.names), Arc::clone(&self.inbound.questions));
        let address = net::canonical(self.peer.ip());
        Box::pin(async move {
            let named = names.get_or_init(|| questions.peer_names(address));
            let named = tokio::time::timeout(at_most, named).await;
            named.map_or_else(|_elapsed| unknown_names(at_most), PeerNames::clone)
        })
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
