//! `estafette explain`: the daemon's own decision, offline, with its reasons.

use std::process::ExitCode;

use serde_json::json;

use super::args::ExplainArguments;
use super::configuration::{NO, WRONG, load};
use crate::cert::identity::Identity;
use crate::config::{ListenerSettings, Settings};
use crate::io::clock;
use crate::io::tls::judge::Judge;
use crate::io::tls::pem;
use crate::net;
use crate::policy::facts::Facts;
use crate::policy::verdict::{Step, Verdict};
use crate::session::replies;
use crate::session::settings::TlsOffer;
use crate::wire::path::{ForwardPath, ReversePath};
use crate::wire::reply::Reply;

/// What the reply shows where a session would put its own reference.
const REFERENCE: &str = "explain";

pub(super) fn run(arguments: &ExplainArguments) -> ExitCode {
    let loaded = match load(&arguments.config.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match explain(arguments, &loaded.settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NO),
        Err(why) => {
            eprintln!("estafette: {why}");
            ExitCode::from(WRONG)
        }
    }
}

/// What is printed for these arguments, for the demonstration.
pub(super) fn text(arguments: &ExplainArguments) -> Result<String, String> {
    let loaded = crate::config::load(&arguments.config.config).map_err(|errors| errors.to_string())?;
    decide(arguments, &loaded.settings).map(|decision| decision.to_text(arguments))
}

/// A client, and the decision on each of its recipients.
struct Decision<'a> {
    listener: &'a ListenerSettings,
    identity: Identity,
    /// The reply that ends it before any recipient is named.
    before: Option<Reply>,
    reverse_path: ReversePath,
    answers: Vec<(ForwardPath, Verdict)>,
}

fn explain(arguments: &ExplainArguments, settings: &Settings) -> Result<bool, String> {
    let decision = decide(arguments, settings)?;
    if arguments.json {
        println!("{}", decision.to_json());
    } else {
        print!("{}", decision.to_text(arguments));
    }
    Ok(decision.is_permit())
}

fn decide<'a>(arguments: &ExplainArguments, settings: &'a Settings) -> Result<Decision<'a>, String> {
    let listener = choose(arguments, settings)?;
    if arguments.plaintext && listener.session.tls == TlsOffer::Implicit {
        let name = &listener.name;
        return Err(format!(
            "listener {name} takes TLS from the first octet: nothing is said in plaintext there"
        ));
    }
    let identity = identity(arguments, listener)?;
    let reverse_path = ReversePath::parse(&bracketed(&arguments.mail_from))
        .map_err(|error| format!("--mail-from {}: {error}", arguments.mail_from))?;
    let mut answers = Vec::new();
    for text in &arguments.rcpt_to {
        let forward_path =
            ForwardPath::parse(&bracketed(text)).map_err(|error| format!("--rcpt-to {text}: {error}"))?;
        let facts = Facts {
            peer: net::canonical(arguments.client_address),
            hello: &arguments.helo,
            identity: &identity,
            reverse_path: &reverse_path,
            forward_path: &forward_path,
            now_unix_seconds: clock::unix_seconds(),
        };
        let verdict = listener.session.chain.evaluate(&facts);
        answers.push((forward_path, verdict));
    }
    Ok(Decision {
        listener,
        before: replies::before_recipients(&listener.session, &identity, REFERENCE),
        identity,
        reverse_path,
        answers,
    })
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
fn identity(arguments: &ExplainArguments, listener: &ListenerSettings) -> Result<Identity, String> {
    let Some(files) = listener
        .tls
        .as_ref()
        .filter(|_| listener.session.tls != TlsOffer::None && !arguments.plaintext)
    else {
        return Ok(Identity::Plaintext);
    };
    let Some(path) = arguments
        .client_cert
        .as_ref()
        .filter(|_| listener.session.ask_client_certificate)
    else {
        return Ok(Identity::NoCertificate);
    };
    let chain = pem::certificates(path).map_err(|error| error.to_string())?;
    let now = clock::unix_seconds();
    let judge = Judge::load(
        files.ca_file.as_deref(),
        files.ca_path.as_deref(),
        files.append_default_ca,
        files.verify_depth,
        now,
    )
    .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    Ok(judge.judge(Some(&chain), now))
}

impl Decision<'_> {
    fn is_permit(&self) -> bool {
        self.before.is_none() && self.answers.iter().all(|(_, verdict)| verdict.is_permit())
    }

    /// The recipients whose turn comes.
    fn asked(&self) -> impl Iterator<Item = &(ForwardPath, Verdict)> {
        self.answers.iter().filter(|_| self.before.is_none())
    }

    fn to_text(&self, arguments: &ExplainArguments) -> String {
        let listener = self.listener;
        let mut text = format!("listener     {} ({})\n", listener.name, listener.address);
        text.push_str(&format!(
            "client       {} helo={}\n",
            arguments.client_address, arguments.helo
        ));
        text.push_str(&format!("identity     {}\n", describe(&self.identity)));
        if let Some(certificate) = self.identity.certificate() {
            text.push_str(&format!("  issuer     {}\n", certificate.issuer.one_line()));
            text.push_str(&format!("  subject    {}\n", certificate.subject.one_line()));
            text.push_str(&format!("  sha256     {}\n", certificate.fingerprint));
        }
        if arguments.client_cert.is_some() && !listener.session.ask_client_certificate {
            text.push_str("  note       this listener does not ask for a certificate (smtpd_tls_ask_ccert)\n");
        }
        if let Some(reply) = &self.before {
            text.push_str(&format!(
                "  reply      {reply}\n  verdict    refused before any recipient\n"
            ));
            return text;
        }
        text.push_str(&format!("mail from    <{}>\n", self.reverse_path));
        for (forward_path, verdict) in &self.answers {
            text.push_str(&format!("rcpt to      <{forward_path}>\n"));
            for step in &verdict.trace {
                let (list, restriction, opinion) = (step.list, &step.restriction, step.opinion.word());
                text.push_str(&format!("  {list}: {restriction}\n    {opinion}: {}\n", step.because));
            }
            text.push_str(&format!(
                "  verdict    {} by {}\n",
                verdict.opinion.word(),
                verdict.decided_by()
            ));
            text.push_str(&format!(
                "  reply      {}\n",
                replies::reply_for(verdict, forward_path, REFERENCE)
            ));
        }
        text
    }

    fn to_json(&self) -> serde_json::Value {
        let certificate = self.identity.certificate();
        let why = match &self.identity {
            Identity::Unverified { why, .. } => Some(why.to_string()),
            _ => None,
        };
        json!({
            "listener": self.listener.name,
            "identity": self.identity.state(),
            "why": why,
            "issuer": certificate.map(|c| c.issuer.one_line()),
            "subject": certificate.map(|c| c.subject.one_line()),
            "sha256": certificate.map(|c| c.fingerprint.clone()),
            "reverse_path": self.reverse_path.to_string(),
            "permitted": self.is_permit(),
            "reply": self.before.as_ref().map(ToString::to_string),
            "recipients": self.asked().map(|(path, verdict)| answer(path, verdict)).collect::<Vec<_>>(),
        })
    }
}

fn answer(forward_path: &ForwardPath, verdict: &Verdict) -> serde_json::Value {
    let step = |step: &Step| {
        json!({
            "list": step.list,
            "restriction": step.restriction,
            "opinion": step.opinion.word(),
            "because": step.because.to_string(),
        })
    };
    json!({
        "forward_path": forward_path.to_string(),
        "verdict": verdict.opinion.word(),
        "decided_by": verdict.decided_by(),
        "because": verdict.because().to_string(),
        "reply": replies::reply_for(verdict, forward_path, REFERENCE).to_string(),
        "trace": verdict.trace.iter().map(step).collect::<Vec<_>>(),
    })
}

fn describe(identity: &Identity) -> String {
    match identity {
        Identity::Unverified { why, .. } => format!("unverified: {why}"),
        Identity::Verified { chain, .. } => {
            let issuers: Vec<_> = chain.iter().map(|issuer| issuer.subject.one_line()).collect();
            format!("verified by {}", issuers.join(" <- "))
        }
        other => other.state().to_owned(),
    }
}
