//! The answers to what restrictions ask, from a name server of the test's own.

#[path = "common/name_server.rs"]
mod name_server;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use estafette::io::dns::SystemResolver;
use estafette::io::policy_service::PolicyConnections;
use estafette::io::questions::{DNS_TIME_MAX, Questions};
use estafette::policy::chain::Evaluation;
use estafette::policy::question::{Answer, Answers, Found, Question};
use estafette::policy::verdict::Verdict;
use estafette::wire::domain::Domain;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::{A, AAAA, MX, PTR, TXT};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use name_server::NameServer;

/// Whose session asks.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn zone(name_asked: &str, kind: RecordType) -> Result<Vec<RData>, ResponseCode> {
    let a = |last| RData::A(A::new(192, 0, 2, last));
    let aaaa = RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let ptr = |target: &str| RData::PTR(PTR(name(target)));
    let text = |parts: &[&str]| RData::TXT(TXT::new(parts.iter().map(ToString::to_string).collect()));
    match (name_asked, kind) {
        ("both.test.", RecordType::A) => Ok(vec![a(1)]),
        ("both.test.", RecordType::AAAA) => Ok(vec![aaaa]),
        ("10.2.0.192.list.test.", RecordType::A) => Ok(vec![RData::A(A::new(127, 0, 0, 2))]),
        ("10.2.0.192.list.test.", RecordType::TXT) => Ok(vec![text(&["in two ", "parts\r\n"])]),
        ("mail.test.", RecordType::MX) => Ok(vec![RData::MX(MX::new(10, name("MX.mail.test.")))]),
        ("null.test.", RecordType::MX) => Ok(vec![RData::MX(MX::new(0, Name::root()))]),
        ("10.2.0.192.in-addr.arpa.", RecordType::PTR) => Ok(vec![ptr("liar.test."), ptr("client.test.")]),
        ("client.test.", RecordType::A) => Ok(vec![a(9), a(10)]),
        ("liar.test.", RecordType::A) => Ok(vec![a(99)]),
        ("11.2.0.192.in-addr.arpa.", RecordType::PTR) => Ok(vec![ptr("liar.test.")]),
        ("12.2.0.192.in-addr.arpa.", RecordType::PTR) => Ok(vec![ptr("broken.test.")]),
        ("14.2.0.192.in-addr.arpa." | "broken.test.", _) => Err(ResponseCode::ServFail),
        ("both.test." | "client.test." | "liar.test." | "mail.test.", _) => Ok(Vec::new()),
        (slow, _) if slow.ends_with(".slow.test.") => Err(name_server::SILENCE),
        _ => Err(ResponseCode::NXDomain),
    }
}

fn world() -> (Questions, NameServer) {
    let server = NameServer::start(zone);
    let resolver = SystemResolver::with_servers(&[server.address]);
    (Questions::new(Arc::new(resolver), PolicyConnections::default()), server)
}

async fn addresses(questions: &Questions, name: &str, both_families: bool) -> Found<IpAddr> {
    let name = name.to_owned();
    match questions
        .answer(&Question::Addresses { name, both_families }, PEER)
        .await
    {
        Answer::Addresses(found) => found,
        other => panic!("{other:?}"),
    }
}

fn sorted<T: Ord>(found: Found<T>) -> Found<T> {
    match found {
        Found::Records(mut records) => {
            records.sort();
            Found::Records(records)
        }
        other => other,
    }
}

#[tokio::test]
async fn addresses_of_a_name_are_of_the_families_asked_for() {
    let (questions, server) = world();
    let both: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!(
        sorted(addresses(&questions, "both.test", true).await),
        Found::Records(both.clone())
    );
    let only_a = Found::Records(vec![both[0]]);
    assert_eq!(addresses(&questions, "Both.Test", false).await, only_a);
    assert_eq!(server.asked("both.test.", RecordType::A), 1, "the answer is kept");
}

#[tokio::test]
async fn denials_are_told_apart_and_failure_is_in_words() {
    let (questions, _server) = world();
    assert_eq!(addresses(&questions, "mail.test", true).await, Found::NoRecords);
    assert_eq!(addresses(&questions, "nowhere.test", true).await, Found::NoSuchName);
    let Found::Failed(why) = addresses(&questions, "broken.test", true).await else {
        panic!("a broken server knows nothing");
    };
    assert!(!why.is_empty());
    let long = format!("{}.test", "x".repeat(64));
    assert_eq!(addresses(&questions, &long, true).await, Found::NoSuchName);
}

#[tokio::test]
async fn hosts_file_does_not_answer() {
    let (questions, _server) = world();
    // In /etc/hosts of every Debian machine.
    assert_eq!(addresses(&questions, "ip6-localhost", true).await, Found::NoSuchName);
}

#[tokio::test]
async fn mail_exchangers_and_the_null_one_are_found() {
    let (questions, _server) = world();
    for (domain, expected) in [
        ("mail.test", Found::Records(vec![(10, "mx.mail.test".to_owned())])),
        ("null.test", Found::Records(vec![(0, ".".to_owned())])),
        ("both.test", Found::NoRecords),
        ("nowhere.test", Found::NoSuchName),
    ] {
        let question = Question::MailExchangers(Domain::parse(domain).unwrap());
        assert_eq!(
            questions.answer(&question, PEER).await,
            Answer::MailExchangers(expected)
        );
    }
}

#[tokio::test]
async fn text_of_a_list_is_put_together_without_line_ends() {
    let (questions, _server) = world();
    let question = Question::Texts("10.2.0.192.list.test".into());
    let text = Found::Records(vec!["in two parts??".to_owned()]);
    assert_eq!(questions.answer(&question, PEER).await, Answer::Texts(text));
}

#[tokio::test]
async fn name_of_a_peer_counts_only_when_it_leads_back() {
    let (questions, _server) = world();
    let names = |last: u8| {
        let address = IpAddr::from([192, 0, 2, last]);
        let questions = &questions;
        async move { questions.peer_names(address).await }
    };
    let domain = |text| Domain::parse(text).unwrap();
    let good = names(10).await;
    assert_eq!(good.verified, Found::Records(vec![domain("client.test")]));
    assert!(
        matches!(&good.reverse, Found::Records(all) if all.len() == 2),
        "{good:?}"
    );
    let liar = names(11).await;
    assert_eq!(liar.reverse, Found::Records(vec![domain("liar.test")]));
    assert_eq!(liar.verified, Found::NoRecords);
    let broken = names(12).await;
    assert_eq!(broken.reverse, Found::Records(vec![domain("broken.test")]));
    assert!(matches!(broken.verified, Found::Failed(_)), "{broken:?}");
    let none = names(13).await;
    assert_eq!((none.reverse, none.verified), (Found::NoSuchName, Found::NoSuchName));
    let failed = names(14).await;
    assert!(
        matches!(
            (&failed.reverse, &failed.verified),
            (Found::Failed(_), Found::Failed(_))
        ),
        "{failed:?}"
    );
    let mapped = questions.peer_names("::ffff:192.0.2.10".parse().unwrap()).await;
    assert_eq!(mapped.verified, Found::Records(vec![domain("client.test")]));
}

#[tokio::test]
async fn silent_server_is_a_failure_in_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let resolver = SystemResolver::with_servers(&[silent.local_addr().unwrap()]);
    let questions = Questions::new(Arc::new(resolver), PolicyConnections::default());
    let begun = Instant::now();
    let found = addresses(&questions, "both.test", false).await;
    assert!(matches!(found, Found::Failed(_)), "{found:?}");
    assert!(begun.elapsed() <= DNS_TIME_MAX + Duration::from_secs(1));
}

#[tokio::test]
async fn evaluation_is_asked_again_until_it_decides() {
    let (questions, _server) = world();
    let wanted = ["both.test", "mail.test"].map(|name| Question::Addresses {
        name: name.into(),
        both_families: false,
    });
    let verdict = questions
        .decide(|answers: &Answers| {
            let open = wanted.iter().find(|question| answers.of(question).is_none());
            open.map_or_else(
                || Evaluation::Decided(Verdict::of_nobody()),
                |open| Evaluation::Ask(open.clone()),
            )
        })
        .await;
    assert_eq!(verdict, Verdict::of_nobody());
}

#[tokio::test]
async fn evaluation_that_never_decides_is_a_refusal_for_now() {
    let (questions, server) = world();
    let question = Question::Texts("10.2.0.192.list.test".into());
    let verdict = questions.decide(|_| Evaluation::Ask(question.clone())).await;
    assert_eq!(verdict, Verdict::of_too_many_questions());
    assert_eq!(server.asked("10.2.0.192.list.test.", RecordType::TXT), 1);
}

#[tokio::test]
async fn network_whose_questions_are_slow_takes_nobody_elses_turns() {
    let (questions, _server) = world();
    let questions = Arc::new(questions);
    // More than are asked at a time altogether, from all addresses of one network.
    for number in 0..600_u16 {
        let [_, low] = number.to_be_bytes();
        let (questions, peer) = (Arc::clone(&questions), IpAddr::from([203, 0, 113, low]));
        let question = Question::Texts(format!("{number}.slow.test"));
        tokio::spawn(async move { questions.answer(&question, peer).await });
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    let peer = |host| IpAddr::from([203, 0, 113, host]);
    let question = Question::Texts("10.2.0.192.list.test".into());
    // Its own next question waits behind those.
    while tokio::time::timeout(Duration::from_millis(50), questions.answer(&question, peer(9)))
        .await
        .is_ok()
    {
        assert!(Instant::now() < deadline, "the questions are under way");
    }
    let begun = Instant::now();
    let found = addresses(&questions, "both.test", false).await;
    assert!(matches!(found, Found::Records(_)), "{found:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let names = tokio::time::timeout(
        Duration::from_secs(2),
        questions.peer_names(IpAddr::from([192, 0, 2, 10])),
    );
    assert!(matches!(names.await.expect("in time").verified, Found::Records(_)));
}
