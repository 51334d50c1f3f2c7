//! Seeds that no dialogue has: what balancers, filters, policy and password services say.

use estafette::wire::milter::command::{Command, letter};
use estafette::wire::milter::options::{Actions, MacroStage, Negotiation, Steps};
use estafette::wire::milter::response::{Change, Response};

/// The inputs of each target.
pub(crate) fn all() -> [(&'static str, Vec<Vec<u8>>); 5] {
    [
        ("proxy_header", proxy_headers()),
        ("milter", vec![said_to_filters(), said_by_filters()]),
        ("milter_changes", changes()),
        ("policy_delegation", policy_services()),
        ("dovecot_auth", dovecot()),
    ]
}

fn proxy_headers() -> Vec<Vec<u8>> {
    let version2 = |command: u8, family: u8, body: &[u8]| {
        let mut octets = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        octets.extend([0x20 | command, family]);
        octets.extend(u16::try_from(body.len()).expect("short").to_be_bytes());
        octets.extend(body);
        octets.extend(b"EHLO a\r\n");
        octets
    };
    let four = [192, 0, 2, 1, 198, 51, 100, 1, 0xc0, 0, 0, 25];
    let with_tlvs = [&four[..], &[0x04, 0, 2, 0, 0, 0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
    vec![
        b"PROXY TCP4 192.0.2.1 198.51.100.1 49152 25\r\nEHLO a\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::1 2001:db8::2 49152 25\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(),
        version2(1, 0x11, &four),
        version2(1, 0x11, &with_tlvs),
        version2(1, 0x21, &[0x20; 36]),
        version2(1, 0x31, &[b'/'; 216]),
        version2(0, 0, &[]),
    ]
}

fn said_to_filters() -> Vec<u8> {
    let offered = Negotiation {
        version: 6,
        actions: Actions::ALL,
        steps: Steps::offered(6),
        macros: Vec::new(),
    };
    let commands = [
        Command::Negotiate(offered),
        Command::Macros {
            event: letter::CONNECT,
            pairs: vec![
                ("j".into(), "relay.example".into()),
                ("{daemon_name}".into(), "x".into()),
            ],
        },
        Command::Connect {
            hostname: "a.example".into(),
            address: Some(([192, 0, 2, 1], 25).into()),
        },
        Command::Hello("a.example".into()),
        Command::Mail(vec!["<a@b.example>".into(), "SIZE=100".into()]),
        Command::Recipient(vec!["<c@d.example>".into()]),
        Command::Data,
        Command::Header {
            name: b"Subject".to_vec(),
            value: b" a\n b".to_vec(),
        },
        Command::EndOfHeader,
        Command::Body(b"body\r\n".to_vec()),
        Command::EndOfBody(Vec::new()),
        Command::Unknown("NONSENSE".into()),
        Command::Abort,
        Command::QuitForNext,
        Command::Quit,
    ];
    commands.iter().flat_map(Command::encode).collect()
}

fn said_by_filters() -> Vec<u8> {
    let agreed = Negotiation {
        version: 6,
        actions: Actions::ALL,
        steps: Steps::SKIP,
        macros: vec![(MacroStage::Mail, vec!["i".into(), "{mail_addr}".into()])],
    };
    let plain = [
        Response::Negotiate(agreed),
        Response::Continue,
        Response::Accept,
        Response::Reject,
        Response::TemporaryFailure,
        Response::Discard,
        Response::Skip,
        Response::Progress,
        Response::ConnectionFailed,
        Response::Shutdown,
        Response::ReplyCode(b"550-5.7.1 no %%\r\n550 5.7.1 spam".to_vec()),
    ];
    let changes = asked_for().into_iter().map(Response::Change);
    plain
        .into_iter()
        .chain(changes)
        .flat_map(|said| said.encode())
        .collect()
}

fn asked_for() -> Vec<Change> {
    let (name, value) = (b"X-Spam".to_vec(), b"yes\n\tvery".to_vec());
    vec![
        Change::AddHeader {
            name: name.clone(),
            value: value.clone(),
        },
        Change::InsertHeader {
            index: 1,
            name: name.clone(),
            value: value.clone(),
        },
        Change::ChangeHeader {
            index: 1,
            name: b"Subject".to_vec(),
            value,
        },
        Change::ChangeHeader {
            index: 2,
            name,
            value: Vec::new(),
        },
        Change::ReplaceBody(b"new\n.\nbody".to_vec()),
        Change::AddRecipient {
            path: "<a@b.example>".into(),
            parameters: None,
        },
        Change::AddRecipient {
            path: "a@b.example".into(),
            parameters: Some("NOTIFY=NEVER ORCPT=rfc822;c@d.example".into()),
        },
        Change::DeleteRecipient("<c@d.example>".into()),
        Change::ReversePath {
            path: "<>".into(),
            parameters: Some("BODY=8BITMIME".into()),
        },
        Change::Quarantine("suspicious".into()),
    ]
}

/// A message, and one change of each kind, then all of them.
fn changes() -> Vec<Vec<u8>> {
    let message = b"Subject: a\r\n b\r\nX-Spam: no\r\n\r\nbody\r\n.\r\n";
    let with = |choices: u8, changes: &[Change]| {
        let mut input = vec![choices, u8::try_from(message.len()).expect("short")];
        input.extend_from_slice(message);
        for change in changes {
            let octets = Response::Change(change.clone()).encode();
            let (head, data) = octets.split_at(5);
            input.extend([head[4], u8::try_from(data.len()).expect("short")]);
            input.extend_from_slice(data);
        }
        input
    };
    let all = asked_for();
    let each = all.iter().map(|change| with(0x30, std::slice::from_ref(change)));
    each.chain((0..8).map(|choices| with(choices, &all))).collect()
}

fn policy_services() -> Vec<Vec<u8>> {
    let replies: [&[u8]; 5] = [
        b"action=DUNNO\n\n",
        b"action=451 4.7.1 Greylisted, try again\nother=x=y\n\n",
        b"action=PREPEND X: y\n\nmore",
        b"garbage\n\n",
        b"request\x01smtpd_access_policy\0sender\x01a\naction=ok\0=\x01\xc3\xa9",
    ];
    replies.map(<[u8]>::to_vec).into()
}

fn dovecot() -> Vec<Vec<u8>> {
    let said: [&[u8]; 4] = [
        b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\nSPID\t1\nCUID\t2\nCOOKIE\txyz\nDONE\n",
        b"OK\t1\tuser=tim\nFAIL\t2\tuser=tim\ttemp\treason=a\x01tb\nFAIL\t3\tcode=temp_fail\nCONT\t4\tVXNlcjo=\n",
        b"\0tim\0secret",
        b"ursel\0tim\0\xff\n",
    ];
    said.map(<[u8]>::to_vec).into()
}
