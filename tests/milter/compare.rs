//! The same filter and the same message with Debian's Postfix: what each tells the filter, and where they differ.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use estafette::wire::milter::command::Command;

use crate::common::client::Client;
use crate::common::{free_port, wait_until};
use crate::fake::FakeMilter;
use crate::postfix::Instance;
use crate::relay_with;
use crate::verdicts::word;

/// One message, and RSET and QUIT beside it; what the filter was told from its first word to its last.
fn told(milter: &FakeMilter, address: SocketAddr) -> Vec<Command> {
    milter.answer(|_| None);
    let mut client = Client::connect(address).expect("connected");
    client.say("EHLO client.example.org").expect("EHLO");
    client.say("MAIL FROM:<alice@example.org> BODY=8BITMIME").expect("MAIL");
    client.say("RSET").expect("RSET");
    let data = "From: Alice <alice@example.org>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\
        Subject:  two\r\n\tlines\r\n\r\nbody";
    let reply = client
        .send("alice@example.org", &["bob@example.net"], data)
        .expect("a reply");
    assert_eq!(reply.code, 250, "{}", reply.text);
    client.say("QUIT").expect("QUIT");
    wait_until("QUIT is told", || milter.seen().last() == Some(&Command::Quit));
    milter.seen()
}

/// The words without what each server chooses for itself: OPTNEG's numbers are left out already.
fn words(told: &[Command]) -> Vec<String> {
    told.iter().filter_map(word).collect()
}

/// The names of the macros that come with an event, each once.
fn names(told: &[Command], of: u8) -> Vec<String> {
    let mut names: Vec<String> = crate::verdicts::macros(told, of)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn filter_is_told_by_postfix_what_we_tell_it_but_for_what_is_listed() {
    let milter = FakeMilter::start();
    let (relay, _sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    milter.settle();
    let ours = told(&milter, relay.address());

    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let port = free_port();
    let main_cf = format!(
        "myhostname = relay.example.org\ndefault_transport = discard:\nrelay_transport = discard:\n\
         mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject\n\
         smtpd_milters = {}\nmilter_default_action = tempfail\n",
        milter.directive()
    );
    let service = format!("127.0.0.1:{port} inet n - n - - smtpd\n");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    milter.answer(|_| None);
    let started = Instance::start(directory.path(), &main_cf, &service, address, &[]);
    let _postfix = started.unwrap_or_else(|error| panic!("{error}"));
    milter.settle();
    let theirs = told(&milter, address);

    // docs/migrating-from-postfix.md gives the reasons.
    let (ours_said, theirs_said) = (words(&ours), words(&theirs));
    // This Postfix looks no names up.
    let unnamed = |word: &String| word.replace("CONNECT localhost ", "CONNECT [127.0.0.1] ");
    let ours_said: Vec<String> = ours_said.iter().map(unnamed).collect();
    // Postfix says ABORT at every reset, also where no message is known or one has ended.
    let without_aborts = |words: &[String]| {
        words
            .iter()
            .filter(|word| *word != "ABORT")
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(without_aborts(&ours_said), without_aborts(&theirs_said));
    let aborts = |words: &[String]| words.iter().filter(|word| *word == "ABORT").count();
    assert!(aborts(&ours_said) == 1 && aborts(&theirs_said) >= 2, "{theirs_said:?}");

    for (event, at_ours_only, at_theirs_only) in [
        (
            b'C',
            vec![
                "{client_addr}",
                "{client_name}",
                "{client_port}",
                "{daemon_port}",
                "{if_addr}",
            ],
            vec![],
        ),
        (b'H', vec!["{verify}"], vec![]),
        (b'M', vec![], vec![]),
        (b'R', vec![], vec![]),
        (b'T', vec![], vec!["i"]),
        (b'N', vec![], vec![]),
        (b'E', vec!["{msg_id}"], vec![]),
    ] {
        let (ours, theirs) = (names(&ours, event), names(&theirs, event));
        let only = |some: &[String], others: &[String]| -> Vec<String> {
            some.iter().filter(|name| !others.contains(name)).cloned().collect()
        };
        let letter = char::from(event);
        assert_eq!(only(&ours, &theirs), at_ours_only, "{letter}: {theirs:?}");
        assert_eq!(only(&theirs, &ours), at_theirs_only, "{letter}: {theirs:?}");
    }
}
