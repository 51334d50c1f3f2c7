//! What is said to one filter in one session, and how it stands.
//!
//! ```text
//!  Fresh -- connect, OPTNEG --> Asked -- ACCEPT in a message --> Past -- end of the message --> Asked
//!                                 |---- ACCEPT at CONNECT, HELO --> Gone
//!                                 |---- a refusal at CONNECT, HELO, or 421 --> Refuses
//!                                 +---- anything wrong --> Failed: milter_default_action to the end of the session
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::channel::Channel;
use super::failure::Failure;
use super::settings::Milter;
use crate::session::replies::{filter_defers, filter_rejects, filter_shuts_down};
use crate::wire::milter::command::Command;
use crate::wire::milter::options::{Actions, MacroStage, Negotiation, Steps, VERSION_MIN};
use crate::wire::milter::reply_code;
use crate::wire::milter::response::Response;
use crate::wire::reply::Reply;

/// Octets that wait for an event that is answered, at most.
const UNSENT_OCTETS_MAX: usize = 64 * 1024;

/// How a filter stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not connected yet.
    Fresh,
    /// It is asked.
    Asked,
    /// It has accepted, or discarded, this message.
    Past,
    /// It has accepted the session.
    Gone,
    /// It answers everything with this.
    Refuses(Reply),
    /// It failed, for this reason.
    Failed(String),
}

/// What a filter says to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Continue,
    Skip,
    Discard,
    Refuse(Reply),
}

/// An event: how it is left out, and whether it is answered.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) letter: u8,
    pub(super) stage: MacroStage,
    pub(super) left_out: Steps,
    pub(super) silent: Steps,
    pub(super) command: Command,
}

/// One filter in one session.
pub(super) struct Conversation {
    pub(super) milter: Milter,
    pub(super) myhostname: String,
    pub(super) channel: Option<Channel>,
    pub(super) standing: Standing,
    pub(super) agreed: Negotiation,
    /// Whether it knows of a message that has not ended.
    pub(super) in_message: bool,
}

/// When an answer must be there at the latest, PROGRESS or not, and how long one may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) silence: Duration,
    pub(super) whole: Duration,
    pub(super) deadline: Instant,
}

impl Patience {
    pub(super) fn new(silence: Duration, whole: Duration) -> Self {
        Self {
            silence,
            whole,
            deadline: Instant::now() + whole,
        }
    }

    /// What is left of it for writing.
    pub(super) fn left(&self) -> Duration {
        self.silence
            .min(self.deadline.saturating_duration_since(Instant::now()))
    }

    fn next(&self) -> (Instant, Duration) {
        let silent_until = Instant::now() + self.silence;
        if silent_until < self.deadline {
            (silent_until, self.silence)
        } else {
            (self.deadline, self.whole)
        }
    }
}

impl Conversation {
    pub(super) fn new(milter: Milter, myhostname: &str) -> Self {
        Self {
            milter,
            myhostname: myhostname.to_owned(),
            channel: None,
            standing: Standing::Fresh,
            agreed: Negotiation::default(),
            in_message: false,
        }
    }

    /// Connects and negotiates.
    pub(super) async fn open(&mut self) -> Result<(), Failure> {
        let mut channel = Channel::connect(&self.milter.endpoint, self.milter.connect_timeout).await?;
        let version = self.milter.version;
        let actions = match version {
            0..=5 => Actions(0x3f),
            _ => Actions::ALL,
        };
        let offered = Negotiation {
            version,
            actions,
            steps: Steps::offered(version),
            macros: Vec::new(),
        };
        channel.put(&Command::Negotiate(offered.clone()));
        let patience = self.command_patience();
        channel.flush(patience.left()).await?;
        let (deadline, limit) = patience.next();
        let agreed = match channel.response(deadline, limit).await? {
            Response::Negotiate(agreed) => agreed,
            other => return Err(Failure::OutOfPlace(name_of(&other))),
        };
        if !(VERSION_MIN..=version).contains(&agreed.version) {
            return Err(Failure::Version(agreed.version, version));
        }
        if !offered.actions.has(agreed.actions) {
            return Err(Failure::Actions(agreed.actions.0));
        }
        if !offered.steps.has(agreed.steps) {
            return Err(Failure::Steps(agreed.steps.0));
        }
        self.agreed = agreed;
        self.channel = Some(channel);
        self.standing = Standing::Asked;
        Ok(())
    }

    pub(super) fn command_patience(&self) -> Patience {
        Patience::new(self.milter.command_timeout, self.milter.content_timeout)
    }

    /// The names of the macros that the filter wants at a stage, if it said so.
    pub(super) fn wanted(&self, stage: MacroStage) -> Option<&[String]> {
        let wanted = self.agreed.macros.iter().find(|(of, _)| *of == stage);
        wanted.map(|(_, names)| names.as_slice())
    }

    /// Tells of an event and takes what the filter says to it.
    pub(super) async fn event(
        &mut self,
        event: &Event,
        macros: Vec<(String, String)>,
        patience: Patience,
    ) -> Result<Word, Failure> {
        let steps = self.agreed.steps;
        if !Steps::offered(self.agreed.version).has(event.left_out) {
            // Its version has no such event; libmilter ends the connection at what it does not know.
            return Ok(Word::Continue);
        }
        let is_left_out = steps.has(event.left_out) && event.left_out != Steps::default();
        let channel = self.channel.as_mut().ok_or(Failure::Closed)?;
        if !macros.is_empty() {
            let event = event.letter;
            channel.put(&Command::Macros { event, pairs: macros });
        }
        if !is_left_out {
            channel.put(&event.command);
        }
        let is_silent = is_left_out || (steps.has(event.silent) && event.silent != Steps::default());
        if is_silent && channel.unsent_octets() <= UNSENT_OCTETS_MAX {
            return Ok(Word::Continue);
        }
        channel.flush(patience.left()).await?;
        if is_silent {
            return Ok(Word::Continue);
        }
        channel.check_unread()?;
        let response = self.response(patience).await?;
        self.word(response, event.stage)
    }

    /// The next response that is not PROGRESS.
    pub(super) async fn response(&mut self, patience: Patience) -> Result<Response, Failure> {
        let channel = self.channel.as_mut().ok_or(Failure::Closed)?;
        loop {
            let (deadline, limit) = patience.next();
            match channel.response(deadline, limit).await? {
                Response::Progress if Instant::now() < patience.deadline => {}
                Response::Progress => return Err(Failure::Timeout(patience.whole)),
                response => return Ok(response),
            }
        }
    }

    /// What a response means, and how the filter stands from then on.
    pub(super) fn word(&mut self, response: Response, stage: MacroStage) -> Result<Word, Failure> {
        let is_of_session = matches!(stage, MacroStage::Connect | MacroStage::Hello);
        let refusal = match response {
            Response::Continue => return Ok(Word::Continue),
            Response::Accept => {
                self.standing = if is_of_session { Standing::Gone } else { Standing::Past };
                return Ok(Word::Continue);
            }
            Response::Discard if !is_of_session => {
                self.standing = Standing::Past;
                return Ok(Word::Discard);
            }
            Response::Skip if self.agreed.steps.has(Steps::SKIP) => return Ok(Word::Skip),
            Response::Reject => filter_rejects(),
            Response::TemporaryFailure => filter_defers(),
            Response::Shutdown | Response::ConnectionFailed => filter_shuts_down(&self.myhostname),
            Response::ReplyCode(text) => {
                reply_code::parse(&text).ok_or_else(|| Failure::Reply(String::from_utf8_lossy(&text).into_owned()))?
            }
            other => return Err(Failure::OutOfPlace(name_of(&other))),
        };
        if is_of_session || refusal.code == 421 {
            self.standing = Standing::Refuses(refusal.clone());
        }
        Ok(Word::Refuse(refusal))
    }

    /// The message is no more.
    pub(super) async fn abort(&mut self) {
        if std::mem::take(&mut self.in_message) {
            self.say(&Command::Abort).await;
        }
        self.go_on();
    }

    /// It is asked again: what it has accepted is over, or was nothing to accept.
    pub(super) fn go_on(&mut self) {
        if self.standing == Standing::Past {
            self.standing = Standing::Asked;
        }
    }

    /// The session ends.
    pub(super) async fn quit(&mut self) {
        self.abort().await;
        self.say(&Command::Quit).await;
        self.channel = None;
    }

    /// Says what is not answered. A filter that is gone by then will be found out at the next event.
    async fn say(&mut self, command: &Command) {
        let within = self.milter.command_timeout;
        if let Some(channel) = &mut self.channel {
            channel.put(command);
            let _ = channel.flush(within).await;
        }
    }
}

/// What a response is called.
pub(super) const fn name_of(response: &Response) -> &'static str {
    match response {
        Response::Negotiate(_) => "OPTNEG",
        Response::Continue => "CONTINUE",
        Response::Accept => "ACCEPT",
        Response::Reject => "REJECT",
        Response::TemporaryFailure => "TEMPFAIL",
        Response::Discard => "DISCARD",
        Response::ReplyCode(_) => "REPLYCODE",
        Response::Skip => "SKIP",
        Response::Progress => "PROGRESS",
        Response::ConnectionFailed => "CONN_FAIL",
        Response::Shutdown => "SHUTDOWN",
        Response::Change(_) => "a change",
    }
}
