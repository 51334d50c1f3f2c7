//! Content filters in a session: asked at each step, and given the message before the queue has it.
//!
//! **Does not** decide: the session does. Without filters nothing here runs, and mail data goes straight to the queue.
//!
//! ```text
//! Append -> content: header in memory, body in a spool -> Filter(EndOfData): the filters, in order -> draft -> commit
//! ```

use std::net::SocketAddr;

use super::drafts::in_time;
use super::driver::{Driver, Flow};
use super::waiting::NAMES_TIME_MAX;
use crate::io::clock;
use crate::io::milter::{Known, Message, Milters, SpoolError};
use crate::outbound::route;
use crate::policy::question::{Found, PeerNames};
use crate::policy::stage::Stage;
use crate::queue::{Draft, Store, StoreError};
use crate::session::QueueRefusal;
use crate::session::filter::{Consultation, FilterFault, FilterNotice, FilterRefusal, FilterVerdict};
use crate::session::replies::header_too_long;
use crate::wire::domain::Domain;
use crate::wire::path::{ForwardPath, ReversePath};

/// What the driver knows beside the session.
struct Beside {
    peer_name: Option<Domain>,
    names: Option<PeerNames>,
    local: Option<SocketAddr>,
    client_sessions: u64,
    mail_host: Option<String>,
    recipient_host: Option<String>,
    message_id: Option<String>,
}

impl Beside {
    fn known<'a>(&'a self, consultation: &'a Consultation) -> Known<'a> {
        Known {
            consultation,
            peer_name: self.peer_name.as_ref(),
            names: self.names.as_ref(),
            local: self.local,
            client_sessions: self.client_sessions,
            id: None,
            mail_host: self.mail_host.as_deref(),
            recipient_host: self.recipient_host.as_deref(),
            message_id: self.message_id.as_deref(),
            refused: None,
        }
    }
}

impl<S: Store> Driver<'_, S> {
    /// Where a message waits for the filters, when any wants it.
    pub(super) fn new_content(&self) -> Option<Message> {
        let wanted = self.milters.as_ref().is_some_and(Milters::want_content);
        wanted.then(|| Message::new(&self.inbound.queue.directory))
    }

    pub(super) async fn keep_for_filters(&mut self, octets: &[u8]) -> Flow {
        if let Some(content) = &mut self.content
            && let Err(error) = content.append(octets).await
        {
            self.give_up_content(error);
        }
        Flow::Continue
    }

    fn give_up_content(&mut self, error: SpoolError) {
        (self.draft, self.content) = (None, None);
        let refusal = self.refusal(&store_error(error));
        self.session.handle_append_failed(refusal, clock::now());
    }

    pub(super) async fn filter(&mut self, consultation: &Consultation) -> Flow {
        self.notice_new_peer();
        if consultation.stage == Stage::EndOfData {
            return self.filter_message(consultation).await;
        }
        let beside = self.beside(consultation).await;
        let verdict = match &mut self.milters {
            Some(milters) => milters.ask(&beside.known(consultation)).await,
            None => FilterVerdict::Continue,
        };
        self.session.handle_filtered(verdict, clock::now());
        Flow::Continue
    }

    async fn filter_message(&mut self, consultation: &Consultation) -> Flow {
        let mut beside = self.beside(consultation).await;
        let Some(mut content) = self.content.take() else {
            self.session.handle_filtered(FilterVerdict::Continue, clock::now());
            return Flow::Continue;
        };
        if let Err(why) = content.finish() {
            let refusal = FilterRefusal {
                filter: "input".into(),
                because: FilterFault::Failed(why.to_string()),
                reply: header_too_long(),
            };
            let verdict = FilterVerdict::Refuse(Box::new(refusal));
            self.session.handle_filtered(verdict, clock::now());
            return Flow::Continue;
        }
        beside.message_id = content.message_id();
        let known = Known {
            id: self.draft.as_ref().map(Draft::id),
            ..beside.known(consultation)
        };
        let weighed = match &mut self.milters {
            Some(milters) => milters.weigh(&known, &mut content).await,
            None => Ok(FilterVerdict::Continue),
        };
        match weighed {
            Err(error) => self.give_up_content(error),
            Ok(verdict @ (FilterVerdict::Continue | FilterVerdict::Changed(_))) => match self.write_out(&content).await
            {
                Ok(()) => self.session.handle_filtered(verdict, clock::now()),
                Err(error) => {
                    self.draft = None;
                    let refusal: QueueRefusal = self.refusal(&error);
                    self.session.handle_append_failed(refusal, clock::now());
                }
            },
            Ok(verdict) => self.session.handle_filtered(verdict, clock::now()),
        }
        Flow::Continue
    }

    /// Hands the message, as the filters have left it, to the queue.
    async fn write_out(&mut self, content: &Message) -> Result<(), StoreError> {
        let draft = self.draft.as_mut().ok_or(StoreError::Closed)?;
        let header = content.header_octets();
        in_time(draft.append(&header)).await?;
        self.appended = header.len();
        let mut offset = 0;
        loop {
            let piece = content.body_piece(offset).await.map_err(store_error)?;
            if piece.is_empty() {
                return Ok(());
            }
            in_time(draft.append(&piece)).await?;
            self.appended = self.appended.saturating_add(piece.len());
            offset += piece.len() as u64;
        }
    }

    pub(super) async fn tell_filters(&mut self, notice: FilterNotice) -> Flow {
        let beside = match &notice {
            FilterNotice::RecipientRefused(consultation, _) => Some(self.beside(consultation).await),
            _ => None,
        };
        let Some(milters) = &mut self.milters else {
            return Flow::Continue;
        };
        match (&notice, beside) {
            (FilterNotice::Abort, _) => milters.abort().await,
            (FilterNotice::UnknownCommand(line), _) => milters.tell_of_unknown(line).await,
            (FilterNotice::RecipientRefused(consultation, reply), Some(beside)) => {
                let known = Known {
                    refused: Some(reply),
                    ..beside.known(consultation)
                };
                milters.tell_of_refused(&known).await;
            }
            (FilterNotice::RecipientRefused(..), None) => {}
        }
        Flow::Continue
    }

    /// A filter is told the client's name at the connection, so that it is waited for here, as in Postfix.
    async fn beside(&mut self, consultation: &Consultation) -> Beside {
        let filters = self.milters.as_ref();
        let is_told = filters.is_some_and(|filters| filters.are_told_of(consultation.peer));
        let is_looked_for = consultation.given_names.is_none() && consultation.peer == self.peer;
        let is_awaited = is_told && is_looked_for && consultation.stage == Stage::Connect;
        let peer_name = match &consultation.peer_name {
            None if is_awaited => match self.look_up_names(NAMES_TIME_MAX).await.verified {
                Found::Records(names) => names.into_iter().next(),
                _ => None,
            },
            known => known.clone(),
        };
        let host = |path: &ForwardPath| route::destination(&self.inbound.outbound, path);
        let mail_host = match &consultation.reverse_path {
            Some(ReversePath::Mailbox(mailbox)) => Some(host(&ForwardPath::Mailbox(mailbox.clone()))),
            _ => None,
        };
        Beside {
            peer_name,
            names: match &consultation.given_names {
                None => self.names.get().filter(|_| is_looked_for).cloned(),
                given => given.clone(),
            },
            local: self.local,
            client_sessions: self
                .place
                .client_sessions(consultation.peer.ip(), &self.inbound.session),
            mail_host,
            recipient_host: consultation.forward_path.as_ref().map(host),
            message_id: None,
        }
    }
}

fn store_error(error: SpoolError) -> StoreError {
    match error {
        SpoolError::NoSpace => StoreError::NoSpace,
        SpoolError::Io(why) => StoreError::Io(why),
    }
}
