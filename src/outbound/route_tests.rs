//! Routes and targets, as a table.

use std::net::IpAddr;
use std::time::Duration;

use super::route::{LookupError, MailExchanger, Route, RouteError, Target, destination, exchangers, targets};
use super::settings::{ConnectionReuse, OutboundSettings, TlsLevel};
use crate::wire::path::ForwardPath;

fn settings(relayhost: Option<&str>) -> OutboundSettings {
    OutboundSettings {
        myhostname: "relay.example.org".into(),
        hello_name: "relay.example.org".into(),
        mydomain: "example.org".into(),
        relayhost: relayhost.map(|text| text.parse().unwrap()),
        tls_level: TlsLevel::May,
        tls_wrapper: false,
        ipv4: true,
        ipv6: true,
        bind_addresses: Vec::new(),
        discarded_keywords: std::sync::Arc::default(),
        eight_bit_mail: crate::outbound::settings::EightBitMail::default(),
        connect_timeout: Duration::from_secs(30),
        hello_timeout: Duration::from_mins(5),
        data_transfer_timeout: Duration::from_mins(3),
        data_done_timeout: Duration::from_mins(10),
        recipients_per_transaction_max: 50,
        destination_concurrency_max: 20,
        reuse: ConnectionReuse::default(),
        initial_destination_concurrency: 5,
        mx_sessions_max: 2,
        mx_addresses_max: 5,
        bounce_octets_max: 50_000,
        own_endpoints: Vec::new(),
    }
}

fn path(text: &str) -> ForwardPath {
    ForwardPath::parse(&format!("<{text}>")).unwrap()
}

fn mx(preference: u16, host: &str) -> MailExchanger {
    MailExchanger {
        preference,
        host: host.into(),
    }
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn no_local(_: IpAddr) -> bool {
    false
}

fn domain_route() -> Route {
    Route::of(&settings(None), &path("a@example.net"))
}

fn addresses(found: &[Target]) -> Vec<String> {
    found
        .iter()
        .flat_map(|target| target.addresses.iter().map(ToString::to_string))
        .collect()
}

#[test]
fn destination_of_recipient_follows_relayhost_domain_or_literal() {
    for (relayhost, recipient, expected) in [
        (Some("[smtp.example.net]:587"), "a@b.example", "[smtp.example.net]:587"),
        (Some("smtp.example.net"), "postmaster", "smtp.example.net"),
        (None, "a@B.Example", "b.example"),
        (None, "a@[192.0.2.1]", "[192.0.2.1]"),
        (None, "a@[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        (None, "postmaster", "example.org"),
    ] {
        assert_eq!(destination(&settings(relayhost), &path(recipient)), expected);
    }
}

#[test]
fn route_of_recipient_is_name_or_address() {
    let name = |name: &str, port, mx_lookup| Route::Name {
        name: name.into(),
        port,
        mx_lookup,
    };
    for (relayhost, recipient, expected) in [
        (Some("[mail]:587"), "a@b.example", name("mail", 587, false)),
        (Some("mail.example"), "a@b.example", name("mail.example", 25, true)),
        (
            Some("[::1]:2526"),
            "a@b.example",
            Route::Address("[::1]:2526".parse().unwrap()),
        ),
        (None, "a@b.example", name("b.example", 25, true)),
        (None, "a@[192.0.2.1]", Route::Address("192.0.2.1:25".parse().unwrap())),
    ] {
        assert_eq!(Route::of(&settings(relayhost), &path(recipient)), expected);
    }
}

#[test]
fn exchangers_are_sorted_by_preference_and_shuffled_within_it() {
    let answer = || Ok(vec![mx(20, "c"), mx(10, "a"), mx(10, "b"), mx(5, "z")]);
    let order = |seed| {
        let found = exchangers(&settings(None), "example.net", answer(), seed).unwrap();
        found.into_iter().map(|exchanger| exchanger.host).collect::<String>()
    };
    let seen: std::collections::BTreeSet<String> = (0..64).map(order).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["zabc", "zbac"]);
    assert_eq!(order(7), order(7));
}

#[test]
fn exchangers_of_odd_answers_are_what_the_rfcs_say() {
    let temporary = LookupError::Temporary("SERVFAIL".into());
    for (answer, expected) in [
        (Ok(vec![mx(0, "")]), Err("5.1.10")),
        (Ok(vec![mx(0, ""), mx(5, "a")]), Ok("a")),
        (Ok(vec![]), Ok("example.net")),
        (Err(LookupError::NoRecords), Ok("example.net")),
        (Err(LookupError::NotFound), Err("5.4.4")),
        (Err(temporary), Err("4.4.3")),
        (Ok(vec![mx(5, "a"), mx(10, "Relay.example.org"), mx(20, "b")]), Ok("a")),
        (Ok(vec![mx(10, "b"), mx(10, "relay.example.org")]), Err("5.4.6")),
    ] {
        let found = exchangers(&settings(None), "example.net", answer.clone(), 1);
        let hosts = found.map(|found| found.iter().map(|e| e.host.clone()).collect::<Vec<_>>().join(" "));
        assert_eq!(hosts.as_deref().map_err(RouteError::status), expected, "{answer:?}");
    }
}

#[test]
fn addresses_take_turns_and_are_limited_over_all_hosts() {
    let answers = [
        (mx(1, "a"), Ok(ips(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]))),
        (mx(2, "b"), Err(LookupError::NotFound)),
        (mx(3, "c"), Ok(ips(&["192.0.2.3", "192.0.2.4", "2001:db8::2"]))),
    ];
    let found = targets(&settings(None), &domain_route(), &answers, &no_local).unwrap();
    assert_eq!(
        addresses(&found),
        [
            "[2001:db8::1]:25",
            "192.0.2.1:25",
            "192.0.2.2:25",
            "[2001:db8::2]:25",
            "192.0.2.3:25"
        ]
    );
    let only_v4 = OutboundSettings {
        ipv6: false,
        mx_addresses_max: 0,
        ..settings(None)
    };
    let found = targets(&only_v4, &domain_route(), &answers, &no_local).unwrap();
    assert_eq!(addresses(&found).len(), 4);
}

#[test]
fn hosts_without_address_fail_and_one_that_may_come_back_defers() {
    let temporary = || Err(LookupError::Temporary("timeout".into()));
    for (answers, status) in [
        (vec![Err(LookupError::NotFound)], "5.4.4"),
        (vec![Err(LookupError::NoRecords), Err(LookupError::NotFound)], "5.4.4"),
        (vec![Err(LookupError::NotFound), temporary()], "4.4.3"),
        (vec![Ok(ips(&["2001:db8::1"]))], "4.4.4"),
    ] {
        let settings = OutboundSettings {
            ipv6: false,
            ..settings(None)
        };
        let answers: Vec<_> = answers.into_iter().map(|answer| (mx(1, "a"), answer)).collect();
        let error = targets(&settings, &domain_route(), &answers, &no_local).unwrap_err();
        assert_eq!(error.status(), status);
        assert_eq!(error.outcome().is_final(), status.starts_with('5'));
    }
}

#[test]
fn own_endpoint_is_cut_off_with_all_that_is_not_better() {
    let answers = [
        (mx(1, "a"), Ok(ips(&["192.0.2.1"]))),
        (mx(2, "us"), Ok(ips(&["192.0.2.9"]))),
        (mx(3, "c"), Ok(ips(&["192.0.2.3"]))),
    ];
    let is_local = |address: IpAddr| address == ips(&["192.0.2.9"])[0];
    for (own, expected) in [
        ("192.0.2.9:25", 1),
        ("[::ffff:192.0.2.9]:25", 1),
        ("0.0.0.0:25", 1),
        ("[::]:25", 1),
        ("192.0.2.9:587", 3),
        ("127.0.0.1:25", 3),
    ] {
        let settings = OutboundSettings {
            own_endpoints: vec![own.parse().unwrap()],
            ..settings(None)
        };
        let found = targets(&settings, &domain_route(), &answers, &is_local).unwrap();
        assert_eq!(found.len(), expected, "{own}");
        let only_us = targets(&settings, &domain_route(), &answers[1..], &is_local);
        let loops = Err(RouteError::Loop("example.net".into()));
        assert_eq!(only_us.map(|_| ()), if expected == 1 { loops } else { Ok(()) }, "{own}");
    }
}

#[test]
fn relayhost_that_is_our_own_listener_loops() {
    let settings = OutboundSettings {
        own_endpoints: vec!["0.0.0.0:2525".parse().unwrap()],
        ..settings(Some("[127.0.0.1]:2525"))
    };
    let route = Route::of(&settings, &path("a@example.net"));
    let answers = [(mx(0, "127.0.0.1"), Ok(ips(&["127.0.0.1"])))];
    assert_eq!(
        targets(&settings, &route, &answers, &no_local),
        Err(RouteError::Loop("127.0.0.1".into()))
    );
}
