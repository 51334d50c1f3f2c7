//! No list but those that decide on relaying lets anybody relay, whatever is in the others.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use estafette::cert::identity::Identity;
use estafette::policy::chain::{Chain, Evaluation};
use estafette::policy::dns_list::{DnsList, ListUse};
use estafette::policy::facts::{Facts, Lists};
use estafette::policy::question::{Answer, Answers, Endpoint, Found, PeerNames, PolicyService, Question};
use estafette::policy::restriction::{AccessOf, CertificateKey, Restriction};
use estafette::policy::stage::Stage;
use estafette::policy::table::{Entries, Table};
use estafette::policy::verdict::Verdict;
use estafette::policy::word::Word;
use estafette::wire::domain::Domain;
use estafette::wire::path::{ForwardPath, ReversePath};
use proptest::prelude::*;

use super::holders::alice;

/// What the world says to everything.
#[derive(Clone, Copy, Debug, PartialEq)]
enum World {
    Knows,
    Denies,
    Fails,
}

impl World {
    fn found<T>(self, one: T) -> Found<T> {
        match self {
            Self::Knows => Found::Records(vec![one]),
            Self::Denies => Found::NoSuchName,
            Self::Fails => Found::Failed("SERVFAIL".into()),
        }
    }

    fn answer(self, question: &Question) -> Answer {
        match question {
            Question::Addresses { .. } => Answer::Addresses(self.found(IpAddr::from([127, 0, 0, 2]))),
            Question::MailExchangers(_) => Answer::MailExchangers(self.found((10, "mx.example".into()))),
            Question::Texts(_) => Answer::Texts(self.found("a reason".into())),
            Question::PeerNames(_) => {
                let domain = Domain::parse("client.example").expect("a name");
                Answer::PeerNames(PeerNames {
                    reverse: self.found(domain.clone()),
                    verified: self.found(domain),
                })
            }
            Question::Service { .. } => Answer::Service(match self {
                Self::Knows => Ok("OK".into()),
                Self::Denies => Ok("permit".into()),
                Self::Fails => Err("refused".into()),
            }),
        }
    }
}

/// Every key that is asked for leads there.
fn table(value: &'static str) -> Arc<Table> {
    let keys = [
        "client.example",
        "198.51.100.1",
        "a.example",
        "a@b.example",
        "b@elsewhere.example",
        "aa:bb",
        "bob",
    ];
    let entries: HashMap<String, String> = keys.map(|key| (key.to_owned(), value.to_owned())).into();
    Arc::new(Table {
        name: "inline".into(),
        entries: Entries::Keys(entries),
    })
}

fn access() -> impl Strategy<Value = Restriction> {
    let of = prop::sample::select(vec![
        AccessOf::Client,
        AccessOf::ReverseClient,
        AccessOf::Hello,
        AccessOf::Sender,
        AccessOf::Recipient,
        AccessOf::Certificate(vec![CertificateKey::Certificate]),
        AccessOf::Login,
    ]);
    let value = prop::sample::select(vec![
        "OK",
        "RELAY",
        "1",
        "permit",
        "everybody",
        "DUNNO",
        "PERMIT_auth_destination, permit",
    ]);
    (of, value).prop_map(|(of, value)| Restriction::Access(of, table(value)))
}

fn restriction() -> impl Strategy<Value = Restriction> {
    let words = (0..Word::ALL.len()).prop_map(|n| Restriction::Word(Word::ALL[n]));
    let simple = (0..Restriction::SIMPLE.len()).prop_map(|n| Restriction::SIMPLE[n].1.clone());
    let lists = (0..ListUse::ALL.len()).prop_map(|n| {
        Restriction::DnsList(Arc::new(DnsList {
            use_: ListUse::ALL[n],
            zone: "list.example".into(),
            filter: None,
        }))
    });
    let service = Just(Restriction::Service(Arc::new(PolicyService {
        endpoint: Endpoint::Inet("127.0.0.1".into(), 10023),
        timeout: Duration::from_secs(1),
        default_action: "OK".into(),
        context: String::new(),
    })));
    prop_oneof![words, simple, lists, access(), service].prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| Restriction::WarnIfReject(Box::new(one))),
            prop::collection::vec(inner, 0..4).prop_map(|list| Restriction::Class("class".into(), list.into())),
        ]
    })
}

fn list() -> impl Strategy<Value = Vec<Restriction>> {
    prop::collection::vec(restriction(), 0..4)
}

/// What the lists of a stage say of a stranger, or of somebody with a certificate and a login.
fn decide(chain: &Chain, stage: Stage, world: World, identity: &Identity) -> Verdict {
    let mut answers = Answers::default();
    let reverse_path = ReversePath::parse("<a@b.example>").expect("a path");
    let forward_path = ForwardPath::parse("<b@elsewhere.example>").expect("a path");
    for _ in 0..64 {
        let facts = Facts {
            hello: "a.example",
            login: Some("bob"),
            reverse_path: Some(&reverse_path),
            forward_path: Some(&forward_path),
            answers: &answers,
            ..Facts::new(IpAddr::from([198, 51, 100, 1]), identity, 0)
        };
        match chain.evaluate(stage, &facts) {
            Evaluation::Decided(verdict) => return verdict,
            Evaluation::Ask(question) => {
                let answer = world.answer(&question);
                answers.add(question, answer);
            }
        }
    }
    panic!("it asks for ever");
}

fn world() -> impl Strategy<Value = World> {
    prop_oneof![Just(World::Knows), Just(World::Denies), Just(World::Fails)]
}

fn with_class() -> Lists {
    let everybody: Arc<[Restriction]> = Arc::from([Restriction::Permit]);
    Lists {
        named: BTreeMap::from([("everybody".to_owned(), everybody)]),
        ..super::lists()
    }
}

proptest! {
    #[test]
    fn no_other_list_permits_a_relay(
        (client, hello, sender) in (list(), list(), list()),
        (data, end_of_data) in (list(), list()),
        refuses_early in any::<bool>(),
        world in world(),
        is_holder in any::<bool>(),
    ) {
        let relay = vec![Restriction::PermitMynetworks, Restriction::PermitAuthDestination, Restriction::Reject];
        let chain = Chain { client, hello, sender, data, end_of_data, refuses_early, relay, lists: with_class(), ..Chain::default() };
        let identity = if is_holder { alice() } else { Identity::Plaintext };
        let verdict = decide(&chain, Stage::Recipient, world, &identity);
        prop_assert!(!verdict.is_permit(), "{verdict:?}");
        for stage in [Stage::Connect, Stage::Hello, Stage::Mail, Stage::Data, Stage::EndOfData] {
            prop_assert!(!decide(&chain, stage, world, &identity).is_permit());
        }
    }

    /// A permission of one list is no permission of another, in either order of the two that decide.
    #[test]
    fn permission_of_a_list_never_skips_another(
        words in list(),
        place in 0..5_usize,
        recipient_before_relay in any::<bool>(),
        world in world(),
    ) {
        let mut lists = [vec![], vec![], vec![], vec![Restriction::Permit], vec![Restriction::Permit]];
        lists[place] = words;
        // Whatever stands there, every list behind or before it that refuses is heard.
        for refusing in (0..5).filter(|n| *n != place) {
            let mut lists = lists.clone();
            lists[refusing] = vec![Restriction::Reject];
            let [client, hello, sender, relay, recipient] = lists;
            let chain = Chain { client, hello, sender, relay, recipient, recipient_before_relay, lists: with_class(), ..Chain::default() };
            let verdict = decide(&chain, Stage::Recipient, world, &alice());
            prop_assert!(verdict.is_refusal(), "{refusing}: {verdict:?}");
        }
    }

    /// What the world does not say is never a permission: behind a failed question nothing is permitted but by a list that
    /// has not asked.
    #[test]
    fn failed_question_of_a_refusing_word_is_never_permitted(n in 0..6_usize, words in list()) {
        let uses = [ListUse::RejectClient, ListUse::RejectClientName, ListUse::RejectReverseName, ListUse::RejectHello,
            ListUse::RejectSender, ListUse::RejectRecipient];
        let asks = Restriction::DnsList(Arc::new(DnsList { use_: uses[n], zone: "list.example".into(), filter: None }));
        let mut sender = vec![asks];
        sender.extend(words);
        let chain = Chain { sender, relay: vec![Restriction::Permit], lists: with_class(), ..Chain::default() };
        let verdict = decide(&chain, Stage::Recipient, World::Fails, &alice());
        prop_assert!(verdict.is_refusal(), "{verdict:?}");
    }
}
