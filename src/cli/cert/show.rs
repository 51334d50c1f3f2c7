//! `estafette cert show`: what rules can see of a certificate.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::rule;
use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::cert::usage;
use crate::cli::configuration::WRONG;
use crate::cli::terminal::{print, printable};
use crate::io::clock;
use crate::io::tls::pem;
use crate::time::Timestamp;

pub(super) fn run(file: &Path, json: bool) -> ExitCode {
    match read(file) {
        Ok(certificates) => {
            let count = certificates.len();
            let numbered = certificates.iter().enumerate();
            let texts = numbered.map(|(n, certificate)| {
                if json {
                    return format!("{}\n", to_json(certificate));
                }
                let text = to_text(certificate, clock::unix_seconds());
                let head = format!("certificate {} of {count} in {}", n + 1, file.display());
                format!("{head}\n{text}\n{}\n", rule::snippet(certificate))
            });
            print(&texts.collect::<String>());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("estafette: {why}");
            ExitCode::from(WRONG)
        }
    }
}

fn read(file: &Path) -> Result<Vec<Certificate>, String> {
    let ders = pem::certificates_in_either_form(file).map_err(|error| error.to_string())?;
    let decoded = ders.iter().enumerate().map(|(n, der)| {
        decode::decode(der).map_err(|error| format!("{}: certificate number {}: {error}", file.display(), n + 1))
    });
    decoded.collect()
}

/// One line per thing; lists have one line per value.
fn to_text(certificate: &Certificate, now_unix_seconds: i64) -> String {
    let c = certificate;
    let time = |seconds| Timestamp::from_seconds(seconds).to_string();
    let validity = if now_unix_seconds > c.not_after_seconds {
        " (expired)"
    } else if now_unix_seconds < c.not_before_seconds {
        " (not yet)"
    } else {
        ""
    };
    let valid = format!(
        "{} to {}{validity}",
        time(c.not_before_seconds),
        time(c.not_after_seconds)
    );
    let usages: Vec<String> = c.extended_key_usages.iter().map(|oid| with_name(oid)).collect();
    let key = match c.key_bits {
        0 => c.key_algorithm.clone(),
        bits => format!("{}, {bits} bits", c.key_algorithm),
    };
    let one = |text: String| vec![text];
    let rows: [(&str, Vec<String>); 17] = [
        ("subject", vec![c.subject.one_line(), c.subject.rfc4514()]),
        ("issuer", vec![c.issuer.one_line(), c.issuer.rfc4514()]),
        ("serial", one(c.serial.clone())),
        ("version", one(c.version.to_string())),
        ("valid", one(valid)),
        ("mail address", c.mail_addresses.clone()),
        ("DNS name", c.dns_names.clone()),
        ("user principal name", c.user_principal_names.clone()),
        ("key usage", c.key_usages.clone()),
        ("extended key usage", usages),
        ("policy", c.policies.clone()),
        (
            "certification authority",
            one(if c.is_ca { "yes" } else { "no" }.into()),
        ),
        ("key", one(key)),
        ("fingerprint", one(c.fingerprint.clone())),
        ("public key fingerprint", one(c.public_key_fingerprint.clone())),
        ("OCSP responder", c.ocsp_responders.clone()),
        ("CRL", c.crl_distribution_points.clone()),
    ];
    let row = |(label, values): &(&str, Vec<String>)| -> String {
        let values = values.iter().enumerate();
        let line = |(n, value): (usize, &String)| {
            let label = if n == 0 { label } else { "" };
            format!("  {label:<24}{}\n", printable(value))
        };
        values.map(line).collect()
    };
    rows.iter().map(row).collect()
}

fn with_name(oid: &str) -> String {
    match usage::name_of(oid) {
        Some(name) => format!("{oid} {name}"),
        None => oid.to_owned(),
    }
}

fn to_json(certificate: &Certificate) -> serde_json::Value {
    let c = certificate;
    let time = |seconds| Timestamp::from_seconds(seconds).to_string();
    let usages: Vec<_> = c
        .extended_key_usages
        .iter()
        .map(|oid| {
            let name = usage::name_of(oid);
            json!({ "oid": oid, "name": name })
        })
        .collect();
    json!({
        "subject": c.subject.one_line(),
        "subject_rfc4514": c.subject.rfc4514(),
        "issuer": c.issuer.one_line(),
        "issuer_rfc4514": c.issuer.rfc4514(),
        "serial": c.serial,
        "version": c.version,
        "not_before": time(c.not_before_seconds),
        "not_after": time(c.not_after_seconds),
        "mail_addresses": c.mail_addresses,
        "dns_names": c.dns_names,
        "user_principal_names": c.user_principal_names,
        "key_usages": c.key_usages,
        "extended_key_usages": usages,
        "policies": c.policies,
        "is_ca": c.is_ca,
        "key_algorithm": c.key_algorithm,
        "key_bits": c.key_bits,
        "fingerprint": c.fingerprint,
        "public_key_fingerprint": c.public_key_fingerprint,
        "ocsp_responders": c.ocsp_responders,
        "crl_distribution_points": c.crl_distribution_points,
        "rule": rule::snippet(c),
    })
}
