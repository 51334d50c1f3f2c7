//! The examples of certificate rules: proved with the certificates of certs-example, on the daemon's own evaluation.

#[path = "config/world.rs"]
mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use estafette::config::{Environment, load_text};
use world::{environment, shipped};

/// A directory with a configuration and the certificates of certs-example.
fn desk() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs-example");
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let copy = folder.path().join(path.file_name().unwrap());
        fs::copy(&path, &copy).unwrap();
        fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

/// The errors and warnings of a file with one rule, as they are printed.
fn told(rule: &str) -> String {
    let desk = desk();
    let environment = Environment {
        check_files: true,
        public_ca_bundles: Vec::new(),
        ..environment()
    };
    let text = format!(
        "smtpd_tls_security_level = \"may\"\nsmtpd_tls_cert_file = \"server.crt\"\nsmtpd_tls_key_file = \"server.key\"\n\
         smtpd_tls_ask_ccert = true\nsmtpd_tls_CAfile = \"CAcert.pem\"\nsmtpd_relay_restrictions = [\"lab\", \"reject\"]\n\
         [[certificate_rule]]\nname = \"lab\"\n{rule}\n"
    );
    match load_text(&desk.path().join("estafette.toml"), &text, &environment) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(found) => found.to_string(),
    }
}

#[test]
fn examples_that_prove_their_rule_are_accepted() {
    for rule in [
        "subject = { OU = \"UMR5168\" }\naccepts = [\"alice.pem\", \"carol.pem\"]\nrefuses = [\"bob.pem\"]",
        "issuer = { CN = \"CNRS-Plus\" }\naccepts = [\"bob.pem\", \"carol.pem\"]\nrefuses = \"alice.pem\"",
        "mail_address = \"*@example.org\"\nextended_key_usage = \"clientAuth\"\naccepts = [\"alice.pem\", \"bob.pem\"]",
        "not = { subject = { OU = \"UMR5168\" } }\naccepts = [\"bob.pem\"]\nrefuses = [\"alice.pem\"]",
        "any = [{ subject = { OU = \"UMR7638\" } }, { issuer = { CN = \"CNRS-Standard\" } }]\naccepts = [\"alice.pem\", \"bob.pem\"]\n\
         refuses = [\"carol.pem\"]",
        "subject_regex = '/OU=UMR5168(/|$)'\naction = \"reject\"\naccepts = [\"alice.pem\"]\nrefuses = [\"bob.pem\"]",
        "issuer_file = \"CNRS-Standard.crt\"\naccepts = [\"alice.pem\"]\nrefuses = [\"bob.pem\", \"rogue.pem\"]",
        "accepts = [\"alice.pem\"]",
        // An example proves conditions, not validity.
        "subject = { O = \"CNRS\" }\naccepts = [\"expired.pem\"]",
    ] {
        assert_eq!(told(rule), "", "{rule}");
    }
}

#[test]
fn example_that_does_not_satisfy_names_the_condition_with_found_and_wanted() {
    let found = told("subject = { O = \"CNRS\", OU = \"UMR5168\" }\naccepts = [\"alice.pem\", \"bob.pem\"]");
    for words in [
        "error: accepts: \"bob.pem\" does not satisfy \"lab\": subject.OU is \"UMR7638\", wanted \"UMR5168\"",
        "estafette.toml:10:25",
    ] {
        assert!(found.contains(words), "{words} is missing in\n{found}");
    }
    assert!(!found.contains("subject.O is"), "{found}");
    assert_eq!(found.matches("error").count(), 1, "{found}");
}

#[test]
fn example_that_satisfies_although_it_must_not_is_told_with_what_it_holds() {
    let found = told("subject = { OU = \"UMR5168\" }\nrefuses = [\"carol.pem\"]");
    let words = "refuses: \"carol.pem\" satisfies \"lab\": subject.OU is \"UMR5168\", wanted \"UMR5168\"";
    assert!(found.contains(words), "{found}");
    let found = told("refuses = [\"carol.pem\"]");
    assert!(found.contains("it has no conditions"), "{found}");
}

#[test]
fn example_of_another_issuer_does_not_satisfy_issuer_file() {
    let found = told("issuer_file = \"CNRS-Standard.crt\"\naccepts = [\"bob.pem\"]");
    assert!(
        found.contains("issuer_file is") && found.contains("CN=CNRS-Plus"),
        "{found}"
    );
}

#[test]
fn example_that_has_too_little_validity_left_is_a_warning_only() {
    let found = told(
        "valid_for = \"9y\"\naccepts = [\"alice.pem\"]"
            .replace("9y", "3650d")
            .as_str(),
    );
    assert_eq!(found, "", "alice's certificate is good for twenty years");
    let found = told("valid_for = \"1d\"\naccepts = [\"expired.pem\"]");
    assert!(
        found.starts_with("warning: accepts: \"expired.pem\" does not satisfy"),
        "{found}"
    );
    let found = told("valid_for = \"1d\"\nsubject = { OU = \"x\" }\naccepts = [\"expired.pem\"]");
    assert!(found.starts_with("error: accepts"), "{found}");
}

#[test]
fn campus_configuration_is_good_with_its_files_and_check_lists_its_rule() {
    let desk = desk();
    let path = desk.path().join("campus.toml");
    let text = shipped("config/campus.toml").replace("/etc/estafette/", "");
    fs::write(&path, &text).unwrap();
    let check = || {
        let estafette = Command::new(env!("CARGO_BIN_EXE_estafette"))
            .args(["check", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        let texts = [estafette.stdout, estafette.stderr].map(|octets| String::from_utf8(octets).unwrap());
        (estafette.status.code(), texts.concat())
    };
    let (code, out) = check();
    assert_eq!(code, Some(0), "{out}");
    for words in [
        "certificate rule laboratory: permit",
        "if      issuer.CN = \"CNRS-Standard\" or \"CNRS-Plus\", issuer.O = \"CNRS\", subject.OU = \"UMR5168\"",
        "proved  accepts alice.pem",
        "proved  refuses bob.pem",
    ] {
        assert!(out.contains(words), "{words} is missing in\n{out}");
    }
    fs::write(&path, text.replace("UMR5168", "UMR7638")).unwrap();
    let (code, out) = check();
    assert_eq!(code, Some(2), "{out}");
    assert!(
        out.contains("\"alice.pem\" does not satisfy \"laboratory\": subject.OU is"),
        "{out}"
    );
    assert!(out.contains("\"bob.pem\" satisfies \"laboratory\""), "{out}");
}
