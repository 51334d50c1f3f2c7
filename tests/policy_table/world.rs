//! A session of the tests on lists, the configuration that its lists come from, and what the world says.

use std::path::Path;

use estafette::cert::identity::Identity;
use estafette::config::{Environment, load_text};
use estafette::policy::chain::{Chain, Evaluation};
use estafette::policy::facts::Facts;
use estafette::policy::question::Answers;
use estafette::policy::restriction::Restriction;
use estafette::policy::stage::{List, Stage};
use estafette::policy::verdict::{Opinion, Verdict};
use estafette::session::replies;
use estafette::wire::domain::Domain;
use estafette::wire::path::{ForwardPath, ReversePath};

use super::holders::alice;
use super::outside::Outside;

/// Questions of one evaluation at most.
const QUESTIONS_MAX: usize = 32;

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    pub peer: &'static str,
    pub hello: &'static str,
    pub sender: &'static str,
    pub recipient: &'static str,
    pub recipients: usize,
    pub login: Option<&'static str>,
    /// Whether Alice's certificate was shown.
    pub certificate: bool,
    pub pipelines: bool,
    /// One record in place of the usual one.
    pub dns: &'static str,
    /// What the policy service says.
    pub service: &'static str,
    /// The one entry of the table called `inline`.
    pub table: (&'static str, &'static str),
}

impl Situation {
    pub const USUAL: Self = Self {
        peer: "198.51.100.1",
        hello: "client.example",
        sender: "a@sender.example",
        recipient: "b@campus.example",
        recipients: 1,
        login: None,
        certificate: false,
        pipelines: false,
        dns: "",
        service: "fail",
        table: ("nothing.example", "DUNNO"),
    };

    fn outside(&self) -> Outside {
        let mut outside = Outside::default();
        let mut own = self.dns.splitn(3, ' ');
        let own = (own.next().unwrap_or_default(), own.next().unwrap_or_default());
        for line in [
            "198.51.100.1 PTR client.example",
            "client.example A 198.51.100.1",
            "sender.example MX 10 mx.sender.example",
        ] {
            if !line.starts_with(&format!("{} {} ", own.0, own.1)) {
                outside.dns(line);
            }
        }
        if !self.dns.is_empty() {
            outside.dns(self.dns);
        }
        outside.policy(self.service);
        outside
    }
}

/// Words, read once for all lists.
pub struct Words {
    chain: Chain,
    is_final: bool,
}

/// One list with some words, and the others as a campus has them.
pub struct World {
    chain: Chain,
    list: List,
    pub stage: Stage,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    /// `ok` when nothing is refused.
    pub reply: String,
}

impl Outcome {
    pub fn refuses(&self) -> bool {
        self.verdict.is_refusal()
    }
}

impl Words {
    pub fn of(words: &str, beside: &str, situation: &Situation) -> Self {
        let rule = "[[certificate_rule]]\nname = 'lab'\nsubject = { OU = 'UMR5168' }\n";
        let (rule, named) = if words.starts_with("lab") {
            (rule, "'lab', ")
        } else {
            ("", "")
        };
        let text = format!(
            "mynetworks = ['192.0.2.0/24']\nrelay_domains = ['campus.example']\nsmtpd_reject_unlisted_recipient = false\n\
             smtpd_tls_security_level = 'may'\nsmtpd_tls_cert_file = 'server.crt'\nsmtpd_tls_ask_ccert = true\n\
             smtpd_tls_CAfile = 'CAcert.pem'\nsmtpd_restriction_classes = {{ strict = ['reject_plaintext_session'], everybody = ['permit'] }}\n\
             smtpd_relay_restrictions = ['permit_mynetworks', {named}'permit_auth_destination', 'reject']\n\
             {beside}smtpd_sender_restrictions = [{}]\n{rule}",
            elements(words, situation.table)
        );
        let mut chain = configured(&text);
        // The certificates of these tests have short fingerprints.
        chain.lists.relay_clientcerts = vec!["CC:DD".into()];
        chain
            .relay
            .retain(|restriction| !matches!(restriction, Restriction::Rule(_)));
        Self {
            is_final: chain.sender.iter().any(Restriction::is_final),
            chain,
        }
    }

    /// The words in one list, at the stage where that is asked.
    pub fn in_list(&self, list: List, delay: bool) -> World {
        let mut words = self.chain.sender.clone();
        if list.permits_recipients() && !self.is_final {
            words.extend([Restriction::PermitAuthDestination, Restriction::Reject]);
        }
        let mut chain = Chain {
            sender: Vec::new(),
            refuses_early: !delay,
            ..self.chain.clone()
        };
        if list.permits_recipients() {
            chain.relay.clear();
        }
        match list {
            List::Client => chain.client = words,
            List::Hello => chain.hello = words,
            List::Sender => chain.sender = words,
            List::Relay => chain.relay = words,
            List::Recipient => chain.recipient = words,
            List::Data => chain.data = words,
            List::EndOfData => chain.end_of_data = words,
        }
        let stage = match list {
            List::Client if !delay => Stage::Connect,
            List::Hello if !delay => Stage::Hello,
            List::Sender if !delay => Stage::Mail,
            List::Data => Stage::Data,
            List::EndOfData => Stage::EndOfData,
            _ => Stage::Recipient,
        };
        World { chain, list, stage }
    }
}

impl World {
    /// The words in a list, asked at RCPT when that may be.
    pub fn of(list: List, words: &str, beside: &str, situation: &Situation) -> Self {
        Words::of(words, beside, situation).in_list(list, true)
    }

    /// What a refusal of this list is about, in the words of Postfix.
    pub fn subject(&self, situation: &Situation) -> String {
        match self.list {
            List::Client => format!("<client.example[{}]>: Client host", situation.peer),
            List::Hello => format!("<{}>: Helo command", situation.hello),
            List::Sender => format!("<{}>: Sender address", situation.sender),
            List::Relay | List::Recipient => format!("<{}>: Recipient address", situation.recipient),
            List::Data => "<DATA>: Data command".into(),
            List::EndOfData => "<END-OF-MESSAGE>: End-of-data".into(),
        }
    }

    pub fn outcome(&self, situation: &Situation) -> Outcome {
        let identity = if situation.certificate {
            alice()
        } else {
            Identity::Plaintext
        };
        let name = Domain::parse("client.example").expect("a name");
        let reverse_path = ReversePath::parse(&format!("<{}>", situation.sender)).expect("a path");
        let forward_path = ForwardPath::parse(&format!("<{}>", situation.recipient)).expect("a path");
        let (stage, outside) = (self.stage, situation.outside());
        let mut answers = Answers::default();
        for _ in 0..QUESTIONS_MAX {
            let facts = Facts {
                peer_name: Some(&name),
                is_extended: true,
                hello: if stage >= Stage::Hello { situation.hello } else { "" },
                login: situation.login,
                reverse_path: (stage >= Stage::Mail).then_some(&reverse_path),
                forward_path: (stage >= Stage::Recipient).then_some(&forward_path),
                recipients: if stage >= Stage::Recipient {
                    situation.recipients
                } else {
                    0
                },
                pipelined_unauthorised: situation.pipelines,
                answers: &answers,
                ..Facts::new(situation.peer.parse().expect("an address"), &identity, 1_795_510_800)
            };
            match self.chain.evaluate(stage, &facts) {
                Evaluation::Decided(verdict) => {
                    return Outcome {
                        reply: reply(stage, &verdict, &forward_path),
                        verdict,
                    };
                }
                Evaluation::Ask(question) => {
                    let answer = outside.answer(&question);
                    answers.add(question, answer);
                }
            }
        }
        panic!("it asks for ever: {answers:?}");
    }
}

fn reply(stage: Stage, verdict: &Verdict, forward_path: &ForwardPath) -> String {
    match verdict.opinion {
        Opinion::Reject | Opinion::Defer if stage == Stage::Recipient => {
            replies::reply_for(verdict, forward_path, "r").to_string()
        }
        Opinion::Reject | Opinion::Defer => replies::stage_refusal(stage, verdict, "nobody", "r").to_string(),
        _ => "ok".into(),
    }
}

/// Words as TOML writes them; `inline` stands for the table.
fn elements(words: &str, (key, value): (&str, &str)) -> String {
    let one = |word: &str| {
        let plain = word.strip_prefix("warn_if_reject ");
        let warns = plain.map_or("", |_| "'warn_if_reject', ");
        let plain = plain.unwrap_or(word);
        if !plain.contains("inline") {
            return format!("'{word}'");
        }
        let name = plain.split(' ').next().unwrap_or_default();
        let order = if plain.contains("search_order") {
            ", search_order = 'pubkey_fingerprint'"
        } else {
            ""
        };
        format!("{warns}{{ {name} = {{ '{key}' = '{value}' }}{order} }}")
    };
    if words.contains('{') {
        return one(words);
    }
    words.split(", ").map(one).collect::<Vec<_>>().join(", ")
}

fn configured(text: &str) -> Chain {
    let environment = Environment {
        hostname: "relay.example".into(),
        interfaces: vec!["127.0.0.1/8".parse().expect("a network")],
        ipv6: false,
        check_files: false,
        public_ca_bundles: Vec::new(),
    };
    let loaded = load_text(Path::new("/etc/estafette/estafette.toml"), text, &environment);
    let loaded = loaded.unwrap_or_else(|found| panic!("{found}\nin\n{text}"));
    (*loaded.settings.listeners[0].session.chain).clone()
}
