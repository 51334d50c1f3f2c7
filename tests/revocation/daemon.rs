//! Revocation in a daemon that runs: the real binary, a session that stays open.

use std::fs;

use super::common::client::Client;
use super::common::sink::Sink;
use super::common::{CERTIFICATES_ONLY, Relay, wait_until};
use super::pki::{List, World};

const MESSAGE: &str = "From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nHello";

/// A relay that knows the authorities of a world beside its own, and the holder's certificate in its directory.
fn relay(world: &World, sink: &Sink, more: &str) -> Relay {
    let policy = format!("smtpd_tls_crl_files = [\"root.crl\", \"sub.crl\"]\n{more}{CERTIFICATES_ONLY}");
    let mut relay = Relay::prepare(&policy, sink.port);
    let bundle = fs::read_to_string(relay.file("CAcert.pem")).expect("the bundle");
    let (root, sub) = (&world.root.pem, &world.sub.pem);
    fs::write(relay.file("CAcert.pem"), format!("{bundle}{root}{sub}")).expect("written");
    let holder = world.sub.holder("Alice", 0x9001);
    fs::write(relay.file("holder.pem"), holder.pem).expect("written");
    fs::write(relay.file("holder.key"), holder.key).expect("written");
    put(
        &relay,
        "root.crl",
        &world.root.list(&List::default()).pem().expect("PEM"),
    );
    put(&relay, "sub.crl", &world.sub.list(&List::default()).pem().expect("PEM"));
    relay.spawn();
    relay
}

fn put(relay: &Relay, name: &str, contents: &str) {
    fs::write(relay.file("new"), contents).expect("written");
    fs::rename(relay.file("new"), relay.file(name)).expect("renamed");
}

fn session(relay: &Relay) -> Client {
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO laptop.example.org").expect("EHLO");
    let mut client = client.start_tls(relay.directory.path(), Some("holder")).expect("TLS");
    client.say("EHLO laptop.example.org").expect("EHLO");
    client
}

fn logged(relay: &Relay, event: &str, text: &str) -> usize {
    let log = relay.log_text();
    log.lines()
        .filter(|line| line.contains(event) && line.contains(text))
        .count()
}

#[test]
fn revocation_reaches_a_session_that_is_open_and_a_broken_file_does_not_undo_it() {
    let sink = Sink::start();
    let world = World::new();
    let relay = relay(&world, &sink, "");
    let mut client = session(&relay);
    let send = |client: &mut Client| {
        client.say("RSET").expect("RSET");
        client
            .send("alice@example.org", &["bob@example.net"], MESSAGE)
            .expect("answered")
    };
    assert_eq!(send(&mut client).code, 250);
    wait_until("both lists are told of", || {
        logged(&relay, "crl.loaded", "/O=CNRS/CN=") == 2
    });

    let revoking = List {
        number: 2,
        revoked: &[0x9001],
        this_update: 0,
        ..List::default()
    };
    put(&relay, "sub.crl", &world.sub.list(&revoking).pem().expect("PEM"));
    wait_until("the new list is in force", || {
        logged(&relay, "crl.loaded", "/O=CNRS/CN=") == 3
    });
    let reply = send(&mut client);
    assert_eq!(reply.code, 554, "{}", reply.text);
    assert!(reply.text.contains("certificate has been revoked"), "{}", reply.text);

    put(&relay, "sub.crl", "rubbish");
    wait_until("it is refused", || logged(&relay, "crl.refused", "sub.crl") == 1);
    assert_eq!(send(&mut client).code, 554);
    assert_eq!(send(&mut session(&relay)).code, 554);

    // Sound lists that undo the one in force: an older one of the same authority, and another authority's alone.
    let older = world.sub.list(&List::default()).pem().expect("PEM");
    put(&relay, "sub.crl", &older);
    wait_until("it is refused", || {
        logged(&relay, "crl.refused", "older than the one in force") == 1
    });
    assert_eq!(send(&mut client).code, 554);
    put(
        &relay,
        "sub.crl",
        &world.root.list(&List::default()).pem().expect("PEM"),
    );
    wait_until("it is refused", || {
        logged(&relay, "crl.refused", "no longer in it") == 1
    });
    assert_eq!(send(&mut client).code, 554);

    // What was put right counts again, for the same session.
    let lifted = List {
        number: 3,
        this_update: 0,
        ..List::default()
    };
    put(&relay, "sub.crl", &world.sub.list(&lifted).pem().expect("PEM"));
    wait_until("the third list is in force", || {
        logged(&relay, "crl.loaded", "/O=CNRS/CN=") == 4
    });
    assert_eq!(send(&mut client).code, 250);
    wait_until("delivered", || sink.count() == 2);
}

#[test]
fn certificate_blocked_by_the_postmaster_is_refused_at_the_next_mail_and_after_a_restart() {
    let sink = Sink::start();
    let world = World::new();
    let mut relay = relay(&world, &sink, "");
    let mut client = session(&relay);
    let send = |client: &mut Client| {
        client.say("RSET").expect("RSET");
        client
            .send("alice@example.org", &["bob@example.net"], MESSAGE)
            .expect("answered")
    };
    assert_eq!(send(&mut client).code, 250);
    let holder = relay.file("holder.pem");
    let holder = holder.to_str().expect("UTF-8");
    let output = relay.command(&["cert", "revoke", holder, "--reason", "lost"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_until("the deny-list is in force", || {
        logged(&relay, "deny_list.changed", "") == 1
    });
    let reply = send(&mut client);
    assert_eq!(reply.code, 554, "{}", reply.text);
    assert!(
        reply.text.contains("blocked by the postmaster of this relay"),
        "{}",
        reply.text
    );
    relay.terminate();
    relay.spawn();
    assert_eq!(send(&mut session(&relay)).code, 554);
}

#[test]
fn metrics_tell_the_age_of_every_list_and_what_was_counted() {
    let sink = Sink::start();
    let world = World::new();
    let relay = relay(&world, &sink, "");
    let mut client = session(&relay);
    let reply = client
        .send("alice@example.org", &["bob@example.net"], MESSAGE)
        .expect("answered");
    assert_eq!(reply.code, 250, "{}", reply.text);
    wait_until("delivered", || sink.count() == 1);
    wait_until("counted", || {
        let output = relay.command(&["metrics"], &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.ends_with("# EOF\n"), "{text}");
        for line in [
            "estafette_crl_entries{issuer=\"/O=CNRS/CN=Root\"} 0\n",
            "estafette_crl_entries{issuer=\"/O=CNRS/CN=Sub\"} 0\n",
            "estafette_recipients_total{verdict=\"permitted\"} 1\n",
            "estafette_messages_queued_total 1\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let age = "estafette_crl_age_seconds{issuer=\"/O=CNRS/CN=Sub\"} ";
        let age = text.lines().find_map(|line| line.strip_prefix(age)).expect("an age");
        let age: i64 = age.parse().expect("a number");
        assert!((86_400..90_000).contains(&age), "{age}");
        assert!(text.contains("estafette_crl_next_update_timestamp_seconds{issuer=\"/O=CNRS/CN=Sub\"} "));
        text.contains("estafette_deliveries_total{outcome=\"relayed\"} 1\n")
    });
}

#[test]
fn check_names_the_directive_of_an_unsound_list_and_warns_of_a_stale_one() {
    let sink = Sink::start();
    let world = World::new();
    let relay = relay(&world, &sink, "");
    let stale = List {
        this_update: -10 * super::DAY,
        next_update: -super::DAY,
        ..List::default()
    };
    put(&relay, "sub.crl", &world.sub.list(&stale).pem().expect("PEM"));
    let output = relay.command(&["check"], &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("the revocation list of /O=CNRS/CN=Sub was due to be renewed on"),
        "{text}"
    );
    assert!(text.contains("smtpd_tls_crl_files"), "{text}");

    let stranger = super::Authority::root("Stranger");
    put(&relay, "sub.crl", &stranger.list(&List::default()).pem().expect("PEM"));
    let output = relay.command(&["check"], &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    assert!(
        text.contains("smtpd_tls_crl_files") && text.contains("/O=CNRS/CN=Stranger"),
        "{text}"
    );
    // A reload changes nothing either.
    assert!(!relay.command(&["reload"], &[]).status.success());
}

#[test]
fn check_warns_of_an_authority_without_a_list_and_of_a_policy_for_nobody() {
    let sink = Sink::start();
    let world = World::new();
    let relay = relay(
        &world,
        &sink,
        "smtpd_tls_crl_issuer_policies = [\"/O=CNRS/CN=Subb fail-open\", \"/C=FR/O=CNRS/CN=CNRS-Plus fail-open\"]\n",
    );
    let output = relay.command(&["check"], &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    for expected in [
        "there is no revocation list of /C=FR/O=CNRS/CN=CNRS-Standard: every certificate it issued is refused",
        "\"/O=CNRS/CN=Subb\" is no authority in smtpd_tls_CAfile",
        "did you mean \"/O=CNRS/CN=Sub\"?",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // What has a list, and what may do without one.
    for unexpected in [
        "no revocation list of /O=CNRS/CN=Sub:",
        "no revocation list of /C=FR/O=CNRS/CN=CNRS-Plus",
    ] {
        assert!(!text.contains(unexpected), "{unexpected}: {text}");
    }
}
