//! What the daemon would decide on a client, by the daemon's own code.

use rustls::pki_types::CertificateDer;

use super::arguments::ExplainArguments;
use super::world;
use crate::cert::examination::Examination;
use crate::cert::identity::Identity;
use crate::config::{ListenerSettings, Settings};
use crate::io::clock;
use crate::io::tls::judge::Judge;
use crate::io::tls::pem;
use crate::net;
use crate::policy::facts::Facts;
use crate::policy::stage::Stage;
use crate::policy::verdict::Verdict;
use crate::session::event::MessageFault;
use crate::session::replies;
use crate::session::settings::TlsOffer;
use crate::time::Timestamp;
use crate::wire::path::{ForwardPath, Mailbox, ReversePath};
use crate::wire::reply::Reply;

/// What the reply shows where a session would put its own reference.
const REFERENCE: &str = "explain";

/// A client, and the decision on each of its recipients.
pub(super) struct Decision<'a> {
    pub(super) listener: &'a ListenerSettings,
    /// The time judged at.
    pub(super) at: Timestamp,
    /// The identity and every check of its certificate.
    pub(super) examination: Examination,
    /// The reply that ends it before any recipient is named.
    pub(super) before: Option<Reply>,
    pub(super) reverse_path: ReversePath,
    /// What the lists before any recipient said.
    pub(super) early: Vec<Verdict>,
    pub(super) answers: Vec<Answer>,
}

/// The decision on one recipient.
pub(super) struct Answer {
    pub(super) forward_path: ForwardPath,
    pub(super) verdict: Verdict,
    pub(super) reply: Reply,
    /// What the data and end-of-data lists say of a message to it alone.
    pub(super) late: Vec<Verdict>,
    /// What the rules with `from_header` say of the From header field.
    pub(super) from_header: Vec<FromHeader>,
}

/// A binding that asks for the From header field.
pub(super) struct FromHeader {
    pub(super) rule: String,
    /// The addresses asked for that are not the holder's.
    pub(super) not_owned: Vec<Mailbox>,
    /// What the message would be refused with at its end, for the first of them.
    pub(super) reply: Option<Reply>,
}

impl<'a> Decision<'a> {
    /// # Errors
    /// In words: an argument or a file is wrong.
    pub(super) fn make(arguments: &ExplainArguments, settings: &'a Settings) -> Result<Self, String> {
        let listener = choose(arguments, settings)?;
        if arguments.plaintext && listener.session.tls == TlsOffer::Implicit {
            let name = &listener.name;
            return Err(format!(
                "listener {name} takes TLS from the first octet: nothing is said in plaintext there"
            ));
        }
        if arguments.login.is_some() && !listener.session.sasl.takes_passwords(!arguments.plaintext) {
            let name = &listener.name;
            return Err(format!(
                "--login: listener {name} takes no passwords there (smtpd_sasl_auth_enable, smtpd_tls_auth_only)"
            ));
        }
        let at = match &arguments.at {
            Some(text) => Timestamp::parse(text).map_err(|why| format!("--at {text}: {why}"))?,
            None => clock::timestamp(),
        };
        let examination = examine(arguments, listener, at)?;
        let reverse_path = ReversePath::parse(&bracketed(&arguments.mail_from))
            .map_err(|error| format!("--mail-from {}: {error}", arguments.mail_from))?;
        let mut from = Vec::new();
        for text in &arguments.from_header {
            let plain = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
            from.push(Mailbox::parse(plain.unwrap_or(text)).map_err(|error| format!("--from-header {text}: {error}"))?);
        }
        let mut decision = Self {
            listener,
            at,
            before: replies::before_recipients(&listener.session, &examination.identity, REFERENCE),
            examination,
            reverse_path,
            early: Vec::new(),
            answers: Vec::new(),
        };
        decision.ask_early(arguments, settings)?;
        for text in &arguments.rcpt_to {
            let forward_path =
                ForwardPath::parse(&bracketed(text)).map_err(|error| format!("--rcpt-to {text}: {error}"))?;
            let answer = decision.answer((arguments, settings), forward_path, &from)?;
            decision.answers.push(answer);
        }
        Ok(decision)
    }

    /// What the lists of a stage say, with whatever they ask of the world.
    fn verdict(
        &self,
        (arguments, settings): (&ExplainArguments, &Settings),
        stage: Stage,
        forward_path: Option<&ForwardPath>,
    ) -> Result<Verdict, String> {
        let facts = Facts {
            hello: &arguments.helo,
            is_extended: true,
            instance: REFERENCE,
            login: arguments.login.as_deref(),
            reverse_path: (stage >= Stage::Mail).then_some(&self.reverse_path),
            forward_path,
            ..Facts::new(
                net::canonical(arguments.client_address),
                &self.examination.identity,
                self.at.seconds(),
            )
        };
        world::decide(settings, |answers| {
            self.listener.session.chain.evaluate(stage, &Facts { answers, ..facts })
        })
    }

    /// Under `smtpd_delay_reject = no` the client, helo and sender lists are asked before any recipient.
    fn ask_early(&mut self, arguments: &ExplainArguments, settings: &Settings) -> Result<(), String> {
        for stage in [Stage::Connect, Stage::Hello, Stage::Mail] {
            if self.before.is_some() || self.listener.session.chain.lists_at(stage).is_empty() {
                continue;
            }
            let verdict = self.verdict((arguments, settings), stage, None)?;
            let subject = match stage {
                Stage::Connect => format!("unknown[{}]", arguments.client_address),
                Stage::Hello => arguments.helo.clone(),
                _ => self.reverse_path.to_string(),
            };
            if verdict.is_refusal() {
                self.before = Some(replies::stage_refusal(stage, &verdict, &subject, REFERENCE));
            }
            self.early.push(verdict);
        }
        Ok(())
    }

    fn answer(
        &self,
        (arguments, settings): (&ExplainArguments, &Settings),
        forward_path: ForwardPath,
        from: &[Mailbox],
    ) -> Result<Answer, String> {
        let verdict = self.verdict((arguments, settings), Stage::Recipient, Some(&forward_path))?;
        let late = if verdict.is_permit() {
            let one = |stage| self.verdict((arguments, settings), stage, Some(&forward_path));
            vec![one(Stage::Data)?, one(Stage::EndOfData)?]
        } else {
            Vec::new()
        };
        let certificate = self.examination.identity.verified();
        let bindings = verdict.obligations.from_header.iter();
        let from_header = bindings.map(|binding| {
            let is_owned = |mailbox: &Mailbox| certificate.is_some_and(|c| binding.owns(c, mailbox));
            let not_owned: Vec<Mailbox> = from.iter().filter(|mailbox| !is_owned(mailbox)).cloned().collect();
            let reply = not_owned.first().map(|mailbox| {
                let fault = MessageFault::FromNotOwned(mailbox.clone());
                replies::message_fault(&fault, &self.listener.session, REFERENCE)
            });
            FromHeader {
                rule: binding.rule.clone(),
                not_owned,
                reply,
            }
        });
        Ok(Answer {
            from_header: from_header.collect(),
            reply: replies::reply_for(&verdict, &forward_path, REFERENCE),
            forward_path,
            verdict,
            late,
        })
    }

    pub(super) fn is_permit(&self) -> bool {
        self.before.is_none() && self.answers.iter().all(Answer::is_permit)
    }

    /// The recipients whose turn comes.
    pub(super) fn asked(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|_| self.before.is_none())
    }
}

impl Answer {
    fn is_permit(&self) -> bool {
        self.verdict.is_permit()
            && !self.late.iter().any(Verdict::is_refusal)
            && self.from_header.iter().all(|binding| binding.not_owned.is_empty())
    }
}

fn bracketed(text: &str) -> String {
    if text.starts_with('<') {
        text.to_owned()
    } else {
        format!("<{text}>")
    }
}

fn choose<'a>(arguments: &ExplainArguments, settings: &'a Settings) -> Result<&'a ListenerSettings, String> {
    let all = &settings.listeners;
    match &arguments.listener {
        Some(name) => all.iter().find(|listener| listener.name == *name).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|listener| listener.name.as_str()).collect();
            format!("there is no listener {name}; there are: {}", names.join(", "))
        }),
        None => all
            .iter()
            .find(|listener| listener.session.ask_client_certificate)
            .or(all.first())
            .ok_or_else(|| "the configuration has no listener".to_owned()),
    }
}

/// What the session of such a client would hold after its handshake.
fn examine(arguments: &ExplainArguments, listener: &ListenerSettings, at: Timestamp) -> Result<Examination, String> {
    let without = |identity| Examination {
        identity,
        until_unix_seconds: i64::MAX,
        steps: Vec::new(),
    };
    let Some(files) = listener
        .tls
        .as_ref()
        .filter(|_| listener.session.tls != TlsOffer::None && !arguments.plaintext)
    else {
        return Ok(without(Identity::Plaintext));
    };
    let Some(path) = arguments
        .client_cert
        .as_ref()
        .filter(|_| listener.session.ask_client_certificate)
    else {
        return Ok(without(Identity::NoCertificate));
    };
    let chain: Vec<CertificateDer<'_>> = pem::certificates(path).map_err(|error| error.to_string())?;
    // The files are read as a daemon reads them that starts today; only what is presented is judged at another time.
    let judge = Judge::of(files, clock::unix_seconds())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    Ok(judge.examine(Some(&chain), at.seconds()))
}
