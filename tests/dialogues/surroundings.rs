//! The outside world of a dialogue over TCP: a name server with its zone, a policy service, a content filter.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use estafette::config::{Environment, load_text};
use estafette::io::dns::SystemResolver;
use estafette::io::milter::settings::Filters;
use estafette::io::policy_service::PolicyConnections;
use estafette::io::questions::Questions;
use estafette::policy::chain::Chain;
use estafette::policy::question::{Endpoint, Found, PolicyService};
use estafette::policy::restriction::Restriction;
use estafette::policy::stage::Stage;
use estafette::session::filter::{EnvelopeChanges, FilterVerdict, RecipientChange};
use estafette::session::settings::SessionSettings;
use estafette::wire::milter::command::Command;
use estafette::wire::milter::options::Steps;
use estafette::wire::milter::response::{Change, Response};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::{A, AAAA, MX, PTR, TXT};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use crate::fake::{Answer, FakeMilter, agreement, say};
use crate::name_server::NameServer;
use crate::script::{Outside, Script, Step};

/// What content filters say at each stage.
type Said = Arc<Mutex<HashMap<Stage, FilterVerdict>>>;

/// The peers of other dialogues have no names.
static NO_NAMES: LazyLock<NameServer> = LazyLock::new(|| NameServer::start(|_, _| Err(ResponseCode::NXDomain)));

/// The world of one dialogue; what it does not speak of is not there.
pub(crate) struct Surroundings {
    resolver: SocketAddr,
    service: Option<u16>,
    said: Said,
    milter: Option<FakeMilter>,
}

impl Surroundings {
    pub(crate) fn of(script: &Script) -> Self {
        let said = Said::default();
        let is_filtered = script.steps.iter().any(|(_, step)| matches!(step, Step::Filter(..)));
        Self {
            resolver: if script.outside.has_names() {
                name_server(script.outside.clone())
            } else {
                NO_NAMES.address
            },
            service: script.outside.action().map(|action| policy_service(action.to_owned())),
            milter: is_filtered.then(|| milter(&said)),
            said,
        }
    }

    /// `filter STAGE VERDICT`.
    pub(crate) fn say(&self, stage: Stage, verdict: &FilterVerdict) {
        self.said.lock().expect("said").insert(stage, verdict.clone());
    }

    pub(crate) fn questions(&self) -> Questions {
        let connections = PolicyConnections {
            retry_delay: Duration::ZERO,
            ..PolicyConnections::default()
        };
        Questions::new(Arc::new(SystemResolver::with_server(self.resolver)), connections)
    }

    /// The filters as the configuration of this one milter has them.
    pub(crate) fn filters(&self) -> Option<Arc<Filters>> {
        let milter = self.milter.as_ref()?;
        let environment = Environment {
            hostname: "relay.example".into(),
            interfaces: vec!["127.0.0.1/8".parse().expect("a network")],
            ipv6: false,
            check_files: false,
            public_ca_bundles: Vec::new(),
        };
        let text = format!("smtpd_milters = [\"{}\"]\n", milter.directive());
        let loaded = load_text(Path::new("/etc/estafette/estafette.toml"), &text, &environment);
        let loaded = loaded.unwrap_or_else(|found| panic!("{found}"));
        loaded.settings.listeners[0].filters.clone()
    }

    /// The settings of the dialogue, with the service where it is.
    pub(crate) fn settle(&self, session: &mut SessionSettings) {
        let mut chain = Chain::clone(&session.chain);
        for list in [
            &mut chain.client,
            &mut chain.hello,
            &mut chain.sender,
            &mut chain.relay,
            &mut chain.recipient,
            &mut chain.data,
            &mut chain.end_of_data,
        ] {
            for restriction in list {
                if let Restriction::Service(service) = restriction {
                    // Without one, nobody listens on the discard port.
                    let port = self.service.unwrap_or(9);
                    *restriction = Restriction::Service(Arc::new(PolicyService {
                        endpoint: Endpoint::Inet("127.0.0.1".into(), port),
                        ..PolicyService::clone(service)
                    }));
                }
            }
        }
        session.chain = Arc::new(chain);
        session.has_filters |= self.milter.is_some();
    }
}

fn name_server(outside: Outside) -> SocketAddr {
    let zone = move |name: &str, kind: RecordType| {
        let plain = name.trim_end_matches('.');
        let asked = address_of(plain).unwrap_or_else(|| plain.to_owned());
        match outside.records(&asked, &kind.to_string()) {
            Found::Records(texts) => Ok(texts.iter().map(|text| data(kind, text)).collect()),
            Found::NoRecords => Ok(Vec::new()),
            Found::NoSuchName => Err(ResponseCode::NXDomain),
            Found::Failed(_) => Err(ResponseCode::ServFail),
        }
    };
    NameServer::start(zone).address
}

/// The address that a name below in-addr.arpa stands for; the dialogues name no other.
fn address_of(name: &str) -> Option<String> {
    let octets = name.strip_suffix(".in-addr.arpa")?;
    Some(octets.rsplit('.').collect::<Vec<_>>().join("."))
}

fn data(kind: RecordType, text: &str) -> RData {
    let name = |text: &str| Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).expect("a name");
    match kind {
        RecordType::PTR => RData::PTR(PTR(name(text))),
        RecordType::TXT => RData::TXT(TXT::new(vec![text.to_owned()])),
        RecordType::MX => {
            let (preference, host) = text.split_once(' ').expect("PREFERENCE HOST");
            RData::MX(MX::new(preference.parse().expect("a preference"), name(host)))
        }
        _ => match text.parse().expect("an address") {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        },
    }
}

/// A service that says one thing to everybody; its port.
fn policy_service(action: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer_all(stream, &action);
        }
    });
    port
}

fn answer_all(mut stream: TcpStream, action: &str) {
    let (mut request, mut octet) = (Vec::new(), [0]);
    while let Ok(1) = stream.read(&mut octet) {
        request.push(octet[0]);
        if request.ends_with(b"\n\n") {
            request.clear();
            if write!(stream, "action={action}\n\n").is_err() {
                return;
            }
        }
    }
}

fn milter(said: &Said) -> FakeMilter {
    let milter = FakeMilter::start();
    let said = Arc::clone(said);
    milter.answer(move |command| {
        let stage = match command {
            Command::Negotiate(_) => return Some(say(&[agreement(Steps::default())])),
            Command::Connect { .. } => Stage::Connect,
            Command::Hello(_) => Stage::Hello,
            Command::Mail(_) => Stage::Mail,
            Command::Recipient(_) => Stage::Recipient,
            Command::Data => Stage::Data,
            Command::EndOfBody(_) => Stage::EndOfData,
            _ => return None,
        };
        let verdict = said.lock().expect("said").get(&stage).cloned();
        verdict.map(|verdict| answer_of(&verdict))
    });
    milter
}

fn answer_of(verdict: &FilterVerdict) -> Answer {
    match verdict {
        FilterVerdict::Continue => say(&[Response::Continue]),
        FilterVerdict::Discard(_) => say(&[Response::Discard]),
        FilterVerdict::Refuse(refusal) => say(&[Response::ReplyCode(refusal.reply.to_string().into_bytes())]),
        FilterVerdict::Changed(changes) => {
            let mut responses = changed(changes);
            responses.push(Response::Continue);
            say(&responses)
        }
    }
}

fn changed(changes: &EnvelopeChanges) -> Vec<Response> {
    let bracketed = |path: &dyn std::fmt::Display| format!("<{path}>");
    let parameters = None;
    let reverse_path = changes.reverse_path.as_ref().map(|path| Change::ReversePath {
        path: bracketed(path),
        parameters: None,
    });
    let recipients = changes.recipients.iter().map(|change| match change {
        RecipientChange::Add(path, _) => Change::AddRecipient {
            path: bracketed(path),
            parameters: parameters.clone(),
        },
        RecipientChange::Remove(path) => Change::DeleteRecipient(bracketed(path)),
    });
    let hold = changes.hold.clone().map(Change::Quarantine);
    let all = reverse_path.into_iter().chain(recipients).chain(hold);
    all.map(Response::Change).collect()
}
