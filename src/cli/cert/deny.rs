//! `estafette cert revoke`, `restore` and `list`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::args::{RevokeArguments, Which};
use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::cert::denied::{self, Entry, Selector};
use crate::cert::name::is_printable;
use crate::cli::configuration::{NO, WRONG};
use crate::cli::terminal::{print, printable};
use crate::io::clock;
use crate::io::tls::deny_list_edit::{self, Denying};
use crate::io::tls::pem;
use crate::time::Timestamp;

/// The longest reason, characters: it stands in the log of every refusal.
const REASON_MAX: usize = 200;

/// The exit status and what to print on standard error.
type Failure = (u8, String);

pub(super) fn revoke(arguments: &RevokeArguments, list: &Path) -> ExitCode {
    ending(try_revoke(arguments, list))
}

fn try_revoke(arguments: &RevokeArguments, list: &Path) -> Result<String, Failure> {
    check_reason(&arguments.reason).map_err(wrong)?;
    let (selector, certificate) = select(&arguments.which).map_err(wrong)?;
    if let Some(certificate) = &certificate {
        check_authority(certificate, arguments.ca).map_err(wrong)?;
    }
    let entry = Entry {
        selector,
        reason: arguments.reason.clone(),
        since_unix_seconds: Some(clock::unix_seconds()),
        subject: certificate.map(|certificate| certificate.subject.one_line()),
    };
    match deny_list_edit::deny(list, &entry).map_err(failed)? {
        Denying::Added => Ok(format!(
            "denied:\n{}written to {}; the relay refuses it from the next MAIL on, in open sessions too\n",
            to_text(&entry),
            list.display()
        )),
        Denying::Already(known) => Ok(format!("denied already, nothing was written:\n{}", to_text(&known))),
    }
}

pub(super) fn restore(which: &Which, list: &Path) -> ExitCode {
    ending(try_restore(which, list))
}

fn try_restore(which: &Which, list: &Path) -> Result<String, Failure> {
    let (selector, _) = select(which).map_err(wrong)?;
    let removed = deny_list_edit::restore(list, &selector).map_err(failed)?;
    if removed.is_empty() {
        let list = list.display();
        return Err((NO, format!("no entry of {list} denies it; see `estafette cert list`")));
    }
    let entries: String = removed.iter().map(to_text).collect();
    Ok(format!("no longer denied:\n{entries}"))
}

pub(super) fn list(list: &Path, json: bool) -> ExitCode {
    ending(deny_list_edit::entries(list).map_err(failed).map(|entries| {
        if json {
            return entries.iter().map(|entry| format!("{}\n", to_json(entry))).collect();
        }
        let text: String = entries.iter().map(to_text).collect();
        let noun = if entries.len() == 1 { "entry" } else { "entries" };
        format!("{text}-- {} {noun} in {}\n", entries.len(), list.display())
    }))
}

/// Prints how a command ended.
fn ending(result: Result<String, Failure>) -> ExitCode {
    match result {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err((code, why)) => {
            eprintln!("estafette: {why}");
            ExitCode::from(code)
        }
    }
}

fn wrong(why: String) -> Failure {
    (WRONG, why)
}

fn failed(why: String) -> Failure {
    (NO, why)
}

/// What the arguments mean, and the certificate itself when there is a file.
fn select(which: &Which) -> Result<(Selector, Option<Certificate>), String> {
    if let Some(file) = &which.file {
        let ders = pem::certificates_in_either_form(file).map_err(|error| error.to_string())?;
        let first = ders.first().and_then(|der| decode::decode(der).ok());
        let certificate = first.ok_or_else(|| {
            let file = file.display();
            format!("{file}: the first certificate is malformed; name it by --fingerprint")
        })?;
        return Ok((Selector::of(&certificate), Some(certificate)));
    }
    let in_words = |argument: &'static str| move |error: denied::ValueError| format!("--{argument}: {error}");
    let fingerprint = which.fingerprint.as_deref().map(denied::fingerprint).transpose();
    let serial = which.serial.as_deref().map(denied::serial).transpose();
    let issuer = which.issuer.as_deref().map(denied::name).transpose();
    let selector = Selector {
        fingerprint: fingerprint.map_err(in_words("fingerprint"))?,
        serial_and_issuer: serial
            .map_err(in_words("serial"))?
            .zip(issuer.map_err(in_words("issuer"))?),
    };
    Ok((selector, None))
}

fn check_reason(reason: &str) -> Result<(), String> {
    if let Some(c) = reason.chars().find(|c| !is_printable(*c)) {
        return Err(format!(
            "--reason: found the character {c:?}, expected printable text on one line"
        ));
    }
    let count = reason.chars().count();
    if count > REASON_MAX {
        return Err(format!(
            "--reason: found {count} characters, expected {REASON_MAX} at most"
        ));
    }
    Ok(())
}

/// One who names the wrong file must not lock a whole campus out.
fn check_authority(certificate: &Certificate, ca: bool) -> Result<(), String> {
    let name = certificate.subject.one_line();
    match (certificate.is_ca, ca) {
        (true, false) => Err(format!(
            "{name} is a certification authority: to deny it is to refuse everybody whose certificate it issued; \
             nothing was written. Add --ca if that is meant"
        )),
        (false, true) => Err(format!(
            "{name} is not a certification authority; leave --ca out to deny this one certificate"
        )),
        _ => Ok(()),
    }
}

fn to_text(entry: &Entry) -> String {
    let since = entry.since_unix_seconds.map_or("(no date)".into(), since_text);
    let subject = entry.subject.as_deref().unwrap_or("(no subject)");
    let reason = match entry.reason.as_str() {
        "" => "(no reason)",
        reason => reason,
    };
    let mut text = format!("  {since}  {}\n    reason {}\n", printable(subject), printable(reason));
    if let Some(fingerprint) = &entry.selector.fingerprint {
        text.push_str(&format!("    sha256 {fingerprint}\n"));
    }
    if let Some((serial, issuer)) = &entry.selector.serial_and_issuer {
        text.push_str(&format!("    serial {serial} of {issuer}\n"));
    }
    text
}

fn since_text(seconds: i64) -> String {
    Timestamp::from_seconds(seconds).to_string()
}

fn to_json(entry: &Entry) -> serde_json::Value {
    let (serial, issuer) = entry.selector.serial_and_issuer.clone().unzip();
    json!({
        "sha256": entry.selector.fingerprint,
        "serial": serial,
        "issuer": issuer,
        "reason": entry.reason,
        "since": entry.since_unix_seconds.map(since_text),
        "subject": entry.subject,
    })
}
