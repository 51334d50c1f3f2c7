//! Revocation lists: read, verified, bound to their issuer, applied to the whole path, watched.

#[path = "revocation/daemon.rs"]
mod daemon;
#[path = "revocation/pki.rs"]
mod pki;
#[path = "revocation/responders.rs"]
mod responders;
#[path = "revocation/steps.rs"]
mod steps;

mod common;

use std::fs;
use std::time::Duration;

use estafette::cert::identity::{Identity, Why};
use estafette::io::tls::crl_files::CrlEvent;
use estafette::io::tls::judge::Judge;
use estafette::io::tls::settings::{CrlPolicy, OnUnknown, ServerTlsFiles};
use pki::{Authority, DAY, Holder, List, SUB_SERIAL, World, now};
use rcgen::{CrlDistributionPoint, CrlScope, ExtendedKeyUsagePurpose, KeyUsagePurpose};

fn why_at(judge: &Judge, holder: &Holder, at: i64) -> Option<Why> {
    match judge.judge(Some(std::slice::from_ref(&holder.der)), at) {
        Identity::Verified { .. } => None,
        Identity::Unverified { why, .. } => Some(why),
        other => panic!("{other:?}"),
    }
}

fn judge(files: &ServerTlsFiles) -> Judge {
    Judge::of(files, now()).expect("sound files")
}

/// Why a holder is refused by a listener with these files; `None` when it verifies.
fn why(files: &ServerTlsFiles, holder: &Holder) -> Option<Why> {
    why_at(&judge(files), holder, now())
}

fn refusal(files: &ServerTlsFiles) -> String {
    let errors = Judge::of(files, now()).expect_err("unsound files");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn certificate_on_the_list_of_its_issuer_is_revoked_and_no_other() {
    let world = World::new();
    let (alice, bob) = (world.sub.holder("Alice", 0x9001), world.sub.holder("Bob", 0x9002));
    world.write_list("root.crl", &world.root, &List::default());
    world.write_list(
        "sub.crl",
        &world.sub,
        &List {
            revoked: &[7, 0x9001],
            ..List::default()
        },
    );
    let files = world.files(&["root.crl", "sub.crl"]);
    assert_eq!(why(&files, &alice), Some(Why::Revoked));
    assert_eq!(why(&files, &bob), None);
    // Without a directive nothing is looked at.
    assert_eq!(why(&world.files(&[]), &alice), None);
}

#[test]
fn revoked_intermediate_stops_working_and_another_path_is_found() {
    let world = World::new();
    let bob = world.sub.holder("Bob", 5);
    let list = List {
        revoked: &[SUB_SERIAL],
        ..List::default()
    };
    world.write_list("root.crl", &world.root, &list);
    world.write_list("sub.crl", &world.sub, &List::default());
    let files = world.files(&["root.crl", "sub.crl"]);
    assert_eq!(why(&files, &bob), Some(Why::Revoked));

    // The same key under another root that has not taken it back.
    let second = Authority::root("Second Root");
    let cross = second.certificate_of(&world.sub, 77);
    world.write(
        "ca.pem",
        [&world.root.pem, &world.sub.pem, &second.pem, &cross]
            .map(String::as_str)
            .concat(),
    );
    world.write_list("second.crl", &second, &List::default());
    assert_eq!(why(&world.files(&["root.crl", "sub.crl", "second.crl"]), &bob), None);
}

#[test]
fn root_that_was_renewed_with_its_key_goes_on_when_its_old_certificate_ends() {
    let world = World::new();
    let old = world.root.root_until(2, DAY);
    let alice = world.sub.holder("Alice", 5);
    for roots in [format!("{old}{}", world.root.pem), format!("{}{old}", world.root.pem)] {
        world.write("ca.pem", format!("{roots}{}", world.sub.pem));
        let judge = judge(&world.files(&[]));
        assert_eq!(why_at(&judge, &alice, now()), None);
        assert_eq!(why_at(&judge, &alice, now() + 2 * DAY), None);
    }
    world.write("ca.pem", format!("{old}{}", world.sub.pem));
    let judge = judge(&world.files(&[]));
    assert_eq!(why_at(&judge, &alice, now() + 2 * DAY), Some(Why::Expired));
}

#[test]
fn missing_list_follows_the_policy_of_its_issuer() {
    let world = World::new();
    let bob = world.sub.holder("Bob", 5);
    world.write_list("root.crl", &world.root, &List::default());
    let mut files = world.files(&["root.crl"]);
    assert_eq!(why(&files, &bob), Some(Why::CrlMissing));
    let open = CrlPolicy {
        on_unknown: OnUnknown::FailOpen,
        grace: Duration::ZERO,
    };
    files.revocation.issuer_policies = vec![("/O=CNRS/CN=Other".to_owned(), open)];
    assert_eq!(why(&files, &bob), Some(Why::CrlMissing));
    files
        .revocation
        .issuer_policies
        .push(("/O=CNRS/CN=Sub".to_owned(), open));
    assert_eq!(why(&files, &bob), None);
    files.revocation.issuer_policies.clear();
    files.revocation.crl_policy = open;
    assert_eq!(why(&files, &bob), None);
}

#[test]
fn stale_list_counts_through_its_grace_time_and_still_revokes_afterwards() {
    let world = World::new();
    let (alice, bob) = (world.root.holder("Alice", 5), world.root.holder("Bob", 6));
    let list = List {
        revoked: &[5],
        this_update: -10 * DAY,
        next_update: -DAY,
        ..List::default()
    };
    world.write_list("root.crl", &world.root, &list);
    let mut files = world.files(&["root.crl"]);
    assert_eq!(why(&files, &bob), Some(Why::CrlStale));
    assert_eq!(why(&files, &alice), Some(Why::Revoked));
    files.revocation.crl_policy.grace = Duration::from_secs(2 * 86_400);
    let judge = judge(&files);
    assert_eq!(why_at(&judge, &bob, now()), None);
    assert_eq!(why_at(&judge, &bob, now() + 2 * DAY), Some(Why::CrlStale));
    // The verdict says itself until when it holds.
    let examination = judge.examine(Some(std::slice::from_ref(&bob.der)), now());
    let until = examination.until_unix_seconds;
    assert_eq!(why_at(&judge, &bob, until - 1), None);
    assert_eq!(why_at(&judge, &bob, until), Some(Why::CrlStale));
    files.revocation.crl_policy.on_unknown = OnUnknown::FailOpen;
    files.revocation.crl_policy.grace = Duration::ZERO;
    assert_eq!(why(&files, &bob), None);
    assert_eq!(why(&files, &alice), Some(Why::Revoked));
}

#[test]
fn list_without_next_update_never_goes_stale() {
    let world = World::new();
    let (alice, bob) = (world.root.holder("Alice", 5), world.root.holder("Bob", 6));
    let list = List {
        revoked: &[5],
        this_update: -900 * DAY,
        ..List::default()
    };
    world.write("root.crl", world.root.list_without_end(&list));
    let judge = judge(&world.files(&["root.crl"]));
    assert_eq!(why_at(&judge, &bob, now() + 300 * DAY), None);
    assert_eq!(why_at(&judge, &alice, now()), Some(Why::Revoked));
    assert_eq!(told(&judge.refresh_lists(now() + 300 * DAY)), ["loaded 1"]);
}

#[test]
fn lists_are_read_in_pem_and_der_and_several_in_a_file_and_from_a_directory() {
    let world = World::new();
    let alice = world.sub.holder("Alice", 5);
    let revoking = List {
        revoked: &[5],
        ..List::default()
    };
    let (of_sub, of_root) = (world.sub.list(&revoking), world.root.list(&List::default()));
    let both = [of_root.pem().expect("PEM"), of_sub.pem().expect("PEM")].concat();
    world.write("both.crl", both);
    world.write("sub.der", of_sub.der());
    world.write("root.der", of_root.der());
    assert_eq!(why(&world.files(&["both.crl"]), &alice), Some(Why::Revoked));
    assert_eq!(why(&world.files(&["sub.der", "root.der"]), &alice), Some(Why::Revoked));

    let directory = world.path("lists");
    fs::create_dir(&directory).expect("a directory");
    for name in ["sub.der", "root.der", "ca.pem"] {
        fs::copy(world.path(name), directory.join(name)).expect("copied");
    }
    fs::write(directory.join("ca.der"), &world.root.der).expect("written");
    fs::write(directory.join("README"), "What lies here").expect("written");
    let mut files = world.files(&[]);
    files.revocation.crl_path = Some(directory);
    assert_eq!(why(&files, &alice), Some(Why::Revoked));
}

#[test]
fn list_that_cannot_be_trusted_is_an_error_that_says_what_to_do() {
    let world = World::new();
    let stranger = Authority::root("Stranger");
    let impostor = Authority::root("Root");
    let weak = Authority::root_with("No Signer", &[KeyUsagePurpose::KeyCertSign]);
    world.write("ca.pem", format!("{}{}{}", world.root.pem, world.sub.pem, weak.pem));
    let openssl = |extensions: &str| world.root.openssl_list(world.directory.path(), "sha256", extensions);
    let number = "[lists]\nauthorityKeyIdentifier = keyid:always\n";
    let point = |flags: &str| {
        openssl(&format!(
            "{number}issuingDistributionPoint = critical, @point\n[point]\n{flags}\n"
        ))
    };
    let future = List {
        this_update: DAY,
        ..List::default()
    };
    let pem = |authority: &Authority, list: &List<'_>| authority.list(list).pem().expect("PEM");
    let cases = [
        (
            pem(&stranger, &List::default()),
            "is that of /O=CNRS/CN=Stranger, which is unknown here; add the certificate of that authority to smtpd_tls_CAfile",
        ),
        (
            pem(&impostor, &List::default()),
            "has a signature that is not that of /O=CNRS/CN=Root",
        ),
        (
            weak.openssl_list(world.directory.path(), "sha256", number),
            "key usage without cRLSign",
        ),
        (
            world.root.openssl_list(world.directory.path(), "sha1", number),
            "is signed by /O=CNRS/CN=Root with an algorithm that is too weak",
        ),
        (pem(&world.root, &future), "is of the future"),
        (
            openssl(&format!("{number}2.5.29.27 = critical, DER:020101\n")),
            "is a delta list",
        ),
        (
            openssl(&format!("{number}1.2.3.4 = critical, DER:0500\n")),
            "has the critical extension 1.2.3.4",
        ),
        (point("indirectCRL = TRUE"), "is an indirect list"),
        (
            point("onlysomereasons = keyCompromise"),
            "covers some reasons for revocation only",
        ),
        (point("onlyAA = TRUE"), "is about attribute certificates"),
        (point("relativename = rel\n[rel]\nCN = x"), "relative to its issuer"),
        ("no list".to_owned(), "no revocation list (X509 CRL) in PEM or DER form"),
        (world.root.pem.clone(), "found CERTIFICATE"),
        (
            "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n".to_owned(),
            "revocation list number 1 is malformed",
        ),
    ];
    for (contents, expected) in cases {
        world.write("bad.crl", contents);
        let found = refusal(&world.files(&["bad.crl"]));
        assert!(
            found.contains(expected) && found.contains("bad.crl: "),
            "{expected}: {found}"
        );
    }
    world.write("good.crl", openssl(number));
    assert_eq!(why(&world.files(&["good.crl"]), &world.root.holder("Alice", 5)), None);
    assert!(refusal(&world.files(&["none.crl"])).contains("check the path"));
}

#[test]
fn list_that_is_damaged_anywhere_is_never_taken() {
    let world = World::new();
    let list = List {
        revoked: &[5, 6, 7],
        point: Some("http://crl.example.org/a"),
        scope: Some(CrlScope::UserCertsOnly),
        ..List::default()
    };
    let der = world.root.list(&list).der().to_vec();
    for at in 0..der.len() {
        let mut damaged = der.clone();
        damaged[at] ^= 0x41;
        world.write("damaged.crl", &damaged);
        assert!(Judge::of(&world.files(&["damaged.crl"]), now()).is_err(), "octet {at}");
        world.write("damaged.crl", &der[..at]);
        assert!(Judge::of(&world.files(&["damaged.crl"]), now()).is_err(), "cut at {at}");
    }
}

#[test]
fn distribution_point_and_kind_of_certificate_bound_a_list() {
    let world = World::new();
    let at = |point: &'static str| {
        world.root.holder_with("Alice", 5, |params| {
            params.crl_distribution_points = vec![CrlDistributionPoint {
                uris: vec![point.to_owned()],
            }];
        })
    };
    let (first, second) = ("http://crl.example.org/1", "http://crl.example.org/2");
    let unnamed = world.root.holder("Alice", 5);
    let revoking = |point, scope| List {
        revoked: &[5],
        point: Some(point),
        scope,
        ..List::default()
    };
    world.write_list("1.crl", &world.root, &revoking(first, None));
    let files = world.files(&["1.crl"]);
    assert_eq!(why(&files, &at(first)), Some(Why::Revoked));
    assert_eq!(why(&files, &at(second)), Some(Why::CrlMissing));
    assert_eq!(why(&files, &unnamed), Some(Why::Revoked));

    world.write_list(
        "users.crl",
        &world.root,
        &revoking(first, Some(CrlScope::UserCertsOnly)),
    );
    world.write_list("cas.crl", &world.root, &revoking(first, Some(CrlScope::CaCertsOnly)));
    assert_eq!(why(&world.files(&["users.crl"]), &unnamed), Some(Why::Revoked));
    assert_eq!(why(&world.files(&["cas.crl"]), &unnamed), Some(Why::CrlMissing));
    // An intermediate needs the list of authorities, its holder that of users.
    let bob = world.sub.holder("Bob", 9);
    world.write_list("sub.crl", &world.sub, &List::default());
    assert_eq!(
        why(&world.files(&["users.crl", "sub.crl"]), &bob),
        Some(Why::CrlMissing)
    );
    assert_eq!(why(&world.files(&["cas.crl", "sub.crl"]), &bob), None);
}

#[test]
fn authority_with_a_new_key_keeps_its_name_and_has_two_lists() {
    let world = World::new();
    let renewed = Authority::below(&world.root, "Sub", 3);
    world.write(
        "ca.pem",
        [&world.root.pem, &world.sub.pem, &renewed.pem]
            .map(String::as_str)
            .concat(),
    );
    let (old, new) = (world.sub.holder("Old", 5), renewed.holder("New", 5));
    let revoking = List {
        number: 2,
        revoked: &[5],
        ..List::default()
    };
    world.write_list("root.crl", &world.root, &List::default());
    world.write_list("old.crl", &world.sub, &revoking);
    world.write_list("new.crl", &renewed, &List::default());
    let files = world.files(&["root.crl", "old.crl", "new.crl"]);
    assert_eq!(why(&files, &old), Some(Why::Revoked));
    assert_eq!(why(&files, &new), None);
    assert_eq!(why(&world.files(&["root.crl", "old.crl"]), &new), Some(Why::CrlMissing));
}

#[test]
fn newest_of_two_lists_counts_whatever_their_order() {
    let world = World::new();
    let alice = world.root.holder("Alice", 5);
    let revoking = List {
        revoked: &[5],
        this_update: -3 * DAY,
        ..List::default()
    };
    world.write_list("a.crl", &world.root, &revoking);
    world.write_list("b.crl", &world.root, &List::default());
    assert_eq!(why(&world.files(&["a.crl", "b.crl"]), &alice), None);
    assert_eq!(why(&world.files(&["b.crl", "a.crl"]), &alice), None);
}

#[test]
fn certificate_for_mail_protection_alone_is_let_in_by_its_directive_only() {
    let world = World::new();
    let alice = world.root.holder_with("Alice", 5, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    });
    let mut files = world.files(&[]);
    assert_eq!(why(&files, &alice), Some(Why::WrongExtendedKeyUsage));
    files.accept_email_protection = true;
    assert_eq!(why(&files, &alice), None);
    let server = world.root.holder_with("Alice", 5, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(why(&files, &server), Some(Why::WrongExtendedKeyUsage));
}

fn told(events: &[CrlEvent]) -> Vec<String> {
    let words = events.iter().map(|event| match event {
        CrlEvent::Loaded(verified) => format!("loaded {}", verified.list.number.as_deref().unwrap_or_default()),
        CrlEvent::Refused { .. } => "refused".to_owned(),
        CrlEvent::Expiring(_) => "expiring".to_owned(),
        CrlEvent::Stale(_) => "stale".to_owned(),
    });
    words.collect()
}

/// Puts a file in the place of another, as one should.
fn replace(world: &World, name: &str, contents: &[u8]) {
    world.write("new", contents);
    fs::rename(world.path("new"), world.path(name)).expect("renamed");
}

#[test]
fn changed_file_is_taken_and_a_broken_or_missing_one_keeps_the_old() {
    let world = World::new();
    let alice = world.root.holder("Alice", 5);
    world.write_list("root.crl", &world.root, &List::default());
    let judge = judge(&world.files(&["root.crl"]));
    assert_eq!(told(&judge.refresh_lists(now())), ["loaded 1"]);
    assert_eq!(told(&judge.refresh_lists(now())), [""; 0]);
    assert_eq!(why_at(&judge, &alice, now()), None);

    let before = judge.generation();
    let revoking = List {
        number: 2,
        revoked: &[5],
        this_update: 0,
        ..List::default()
    };
    let second = world.root.list(&revoking).pem().expect("PEM");
    replace(&world, "root.crl", second.as_bytes());
    assert_eq!(told(&judge.refresh_lists(now())), ["loaded 2"]);
    assert_eq!(why_at(&judge, &alice, now()), Some(Why::Revoked));
    let after = judge.generation();
    assert_ne!(before, after);

    for broken in [&b"rubbish"[..], b"", &second.as_bytes()[..second.len() / 2]] {
        replace(&world, "root.crl", broken);
        assert_eq!(told(&judge.refresh_lists(now())), ["refused"]);
        assert_eq!(told(&judge.refresh_lists(now())), [""; 0]);
    }
    fs::remove_file(world.path("root.crl")).expect("removed");
    assert_eq!(told(&judge.refresh_lists(now())), ["refused"]);
    assert_eq!(why_at(&judge, &alice, now()), Some(Why::Revoked));
    assert_eq!(judge.generation(), after);

    replace(&world, "root.crl", second.as_bytes());
    assert_eq!(told(&judge.refresh_lists(now())), [""; 0], "the same list as before");
}

#[test]
fn directory_is_watched_for_files_that_come_and_go() {
    let world = World::new();
    let alice = world.root.holder("Alice", 5);
    fs::create_dir(world.path("lists")).expect("a directory");
    let mut files = world.files(&[]);
    files.revocation.crl_path = Some(world.path("lists"));
    let judge = judge(&files);
    assert_eq!(why_at(&judge, &alice, now()), Some(Why::CrlMissing));
    world.write_list("lists/root.crl", &world.root, &List::default());
    assert_eq!(told(&judge.refresh_lists(now())), ["loaded 1"]);
    assert_eq!(why_at(&judge, &alice, now()), None);
    replace(&world, "lists/root.crl", b"");
    assert_eq!(told(&judge.refresh_lists(now())), ["refused"]);
    assert_eq!(why_at(&judge, &alice, now()), None);
    fs::remove_dir_all(world.path("lists")).expect("removed");
    assert_eq!(told(&judge.refresh_lists(now())), ["refused", "refused"]);
    assert_eq!(why_at(&judge, &alice, now()), None);
}

#[test]
fn age_of_a_list_is_told_once_a_day() {
    let world = World::new();
    world.write_list("root.crl", &world.root, &List::default());
    let judge = judge(&world.files(&["root.crl"]));
    let told_at = |days: i64| told(&judge.refresh_lists(now() + days * DAY));
    assert_eq!(told_at(0), ["loaded 1"]);
    assert_eq!(told_at(4), [""; 0]);
    assert_eq!(told_at(6), ["expiring"]);
    assert_eq!(told_at(6), [""; 0]);
    assert_eq!(told_at(8), ["stale"]);
    assert_eq!(told_at(8), [""; 0]);
    assert_eq!(told_at(9), ["stale"]);
}
