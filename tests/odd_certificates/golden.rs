//! What was seen as text, and the golden files it is compared with. `BLESS=1` writes them anew.

use std::collections::BTreeSet;
use std::path::PathBuf;

use estafette::cert::examination::{Check, Examination, ExaminationStep};
use estafette::cert::identity::Identity;
use estafette::policy::chain::Chain;
use estafette::policy::facts::Facts;
use estafette::policy::verdict::Verdict;
use estafette::session::replies::reply_for;
use estafette::wire::path::{ForwardPath, ReversePath};
use regex::Regex;

use super::cases::Case;
use super::handshakes::Met;
use super::pki::now;

/// Where the golden files are.
fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/odd_certificates"))
}

/// All that was seen of one certificate, and the names of the chains that permitted it.
pub(crate) fn render<'a>(case: &Case, all: &[Met], chains: &[(&'a str, &Chain)]) -> (String, Vec<&'a str>) {
    let mut text = format!("{}\n\n", case.about);
    let mut judged: Option<(String, Vec<&'a str>)> = None;
    for Met { what, outcome } in all {
        match outcome {
            Err(why) => text.push_str(&format!("{what}: the handshake failed: {why}\n")),
            Ok(seen) => {
                let proof = match &seen.signature {
                    Some(signature) => format!("signed by {signature}"),
                    None if seen.resumed => "resumed by its ticket".into(),
                    None => "signed by a key that cannot be named".into(),
                };
                text.push_str(&format!("{what}: {proof}, certificates: {}\n", seen.presented));
                let judgement = judgement(&seen.examination, chains);
                let first = judged.get_or_insert_with(|| judgement.clone());
                assert_eq!(*first, judgement, "{}: {what} is judged like the others", case.name);
            }
        }
    }
    let (judgement, permitting) = judged.unwrap_or_default();
    text.push_str(&judgement);
    (normalise(&text), permitting)
}

fn judgement<'a>(examination: &Examination, chains: &[(&'a str, &Chain)]) -> (String, Vec<&'a str>) {
    let mut text = String::from("\n");
    match &examination.identity {
        Identity::Unverified { why, .. } => text.push_str(&format!("unverified: {why}\n")),
        identity => text.push_str(&format!("{}\n", identity.state())),
    }
    if let Some(certificate) = examination.identity.certificate() {
        let key = format!("{} {}", certificate.key_algorithm, certificate.key_bits);
        for (name, value) in [
            ("subject", certificate.subject.one_line()),
            ("RFC 4514", certificate.subject.rfc4514()),
            ("issuer", certificate.issuer.one_line()),
            ("key", key),
            ("names", certificate.dns_names.len().to_string()),
        ] {
            text.push_str(&format!("    {name:9}{value}\n"));
        }
    }
    for issuer in examination.identity.issuers() {
        text.push_str(&format!("    under    {}\n", issuer.subject.one_line()));
    }
    text.push_str(&checks(&examination.steps));
    let mut permitting = Vec::new();
    for (name, chain) in chains {
        let verdict = evaluate(&examination.identity, chain);
        permitting.extend(verdict.is_permit().then_some(*name));
        text.push_str(&format!("\n{name}\n{}", trace(&verdict)));
    }
    (text, permitting)
}

/// Every check under the certificate that was looked at.
fn checks(steps: &[ExaminationStep]) -> String {
    let mut text = String::new();
    let mut last = None;
    for step in steps {
        let is_next = step.check == Check::Encoding;
        if last != Some(&step.certificate) || is_next {
            text.push_str(&format!("\nchecks of {}\n", step.certificate));
            last = Some(&step.certificate);
        }
        let (check, outcome) = (step.check.word(), step.outcome.to_string());
        text.push_str(&format!("    {check:17}{outcome:10}{}\n", step.detail));
    }
    text
}

fn evaluate(identity: &Identity, chain: &Chain) -> Verdict {
    chain.decide(&Facts {
        hello: "laptop.example.org",
        reverse_path: Some(&ReversePath::parse("<alice@example.org>").expect("a path")),
        forward_path: Some(&forward_path()),
        ..Facts::new(std::net::Ipv4Addr::LOCALHOST.into(), identity, now())
    })
}

fn forward_path() -> ForwardPath {
    ForwardPath::parse("<bob@example.net>").expect("a path")
}

fn trace(verdict: &Verdict) -> String {
    let mut text = String::new();
    for step in &verdict.trace {
        let (word, because) = (step.opinion.word(), &step.because);
        text.push_str(&format!("    {word:7}{}: {because}\n", step.restriction));
    }
    let reply = reply_for(verdict, &forward_path(), "1-1");
    text + &format!("    {reply}\n").replace('\r', "")
}

/// Takes out what differs from run to run: fingerprints and serial numbers, dates, and what is counted from them.
fn normalise(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, name) in [
        (r"\b([0-9A-F]{2}:){31}[0-9A-F]{2}\b", "FINGERPRINT"),
        (r"\b([0-9A-F]{2}:)+[0-9A-F]{2}\b", "SERIAL"),
        (r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?( ?UTC|Z)?)?", "DATE"),
        (r"\d+ (second|minute|hour|day)s?\b", "DURATION"),
        (r"\blist \d+", "list NUMBER"),
    ] {
        text = Regex::new(pattern)
            .expect("a pattern")
            .replace_all(&text, name)
            .into_owned();
    }
    // A blank at the end of a line would be lost on the way through an editor.
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Compares with NAME.golden, and tells what differs.
pub(crate) fn compare(name: &str, text: &str) -> Result<(), String> {
    let path = directory().join(format!("{name}.golden"));
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, text).expect("the golden file is written");
        return Ok(());
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    if golden == text {
        return Ok(());
    }
    Err(format!(
        "--- {name}.golden\n{golden}--- now (BLESS=1 takes it over)\n{text}"
    ))
}

/// Golden files without a case among these, which prove nothing any more.
pub(crate) fn orphans(names: &BTreeSet<&str>) -> Vec<String> {
    let entries = std::fs::read_dir(directory()).expect("the golden files");
    let files = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let golden = files.filter_map(|file| file.strip_suffix(".golden").map(str::to_owned));
    golden.filter(|name| !names.contains(name.as_str())).collect()
}
