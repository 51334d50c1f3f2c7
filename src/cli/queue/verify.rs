//! `estafette queue verify`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::arguments::VerifyArguments;
use crate::cli::configuration::NO;
use crate::cli::terminal::{print, printable};
use crate::daemon::queue_commands::messages;
use crate::io::store::OpenError;
use crate::io::store::verify::{Condition, Finding, Sum, Told, repair, verify};

pub fn run(directory: &Path, arguments: &VerifyArguments) -> ExitCode {
    if let Err(error) = std::fs::read_dir(directory) {
        eprintln!(
            "estafette: the queue in {} cannot be read: {error}",
            directory.display()
        );
        return ExitCode::from(NO);
    }
    if arguments.repair {
        match repair(directory) {
            Ok((rows, files)) if !arguments.json => println!("removed: {rows} rows, {files} files"),
            Ok((rows, files)) => println!("{}", json!({"removed_rows": rows, "removed_files": files})),
            Err(error) => return failed("nothing was removed", &error),
        }
    }
    let mut findings = 0_u64;
    let verified = verify(directory, &mut |told| {
        findings += u64::from(matches!(told, Told::Finding(_)));
        print(&if arguments.json { as_json(&told) } else { as_text(&told) });
    });
    let (condition, sum) = match verified {
        Ok(verified) => verified,
        Err(error) => return failed("the queue cannot be looked at", &error),
    };
    print(&summary(condition, sum, findings, arguments.json));
    ExitCode::from(if findings == 0 { 0 } else { NO })
}

fn failed(what: &str, error: &OpenError) -> ExitCode {
    let hint = match error {
        OpenError::Locked { .. } => "; stop the relay first",
        _ => "",
    };
    eprintln!("estafette: {what}: {error}{hint}");
    ExitCode::from(NO)
}

fn as_text(told: &Told) -> String {
    match told {
        Told::Finding(finding) => format!("{}\n", printable(&finding.to_string())),
        Told::Note(note) => format!("note: {}\n", printable(note)),
    }
}

fn as_json(told: &Told) -> String {
    let value = match told {
        Told::Finding(Finding { kind, id, what, remedy }) => {
            let id = id.map(|id| id.to_string());
            json!({"finding": kind, "queue_id": id, "what": what, "remedy": remedy})
        }
        Told::Note(note) => json!({"note": note}),
    };
    format!("{value}\n")
}

fn summary(condition: Condition, sum: Sum, findings: u64, json: bool) -> String {
    let condition = match condition {
        Condition::Running => "running",
        Condition::Stopped => "stopped",
        Condition::Missing => "missing",
    };
    if json {
        let value = json!({"clean": findings == 0, "findings": findings, "queue": condition, "messages": sum.messages,
            "recipients": sum.recipients, "files": sum.files, "octets": sum.octets});
        return format!("{value}\n");
    }
    let verdict = match findings {
        0 => String::from("clean"),
        1 => String::from("1 finding"),
        findings => format!("{findings} findings"),
    };
    format!(
        "{verdict}: {}, {} recipients, {} files, {} checked; the relay is {}\n",
        messages(sum.messages),
        sum.recipients,
        sum.files,
        size(sum.octets),
        if condition == "running" { "running" } else { "stopped" },
    )
}

fn size(octets: u64) -> String {
    const MIB: u64 = 1 << 20;
    let tenths = octets.saturating_mul(10) / MIB;
    if octets < MIB / 10 {
        format!("{octets} octets")
    } else {
        format!("{}.{} MiB", tenths / 10, tenths % 10)
    }
}
