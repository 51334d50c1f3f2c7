//! The machine's description, for the page.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The type of the file system that a path lies on.
pub fn file_system(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let found = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| path.starts_with(point))
        // The last of equally long ones covers the others.
        .max_by_key(|(point, _)| point.len());
    found.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

/// A Markdown list: what was measured, on what.
pub fn description(queue: &Path) -> String {
    let line = |file: &str, start: &str| -> String {
        let text = fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix(start));
        let value = found.map(|rest| rest.trim_start_matches([':', ' ', '\t']).trim());
        value.unwrap_or("unknown").to_owned()
    };
    let kib: u64 = line("/proc/meminfo", "MemTotal")
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0);
    format!(
        "- Estafette: revision {}\n- Postfix: {}\n- processors: {} × {}\n- memory: {} GiB\n- kernel: {}\n- file system of \
         both queues: {}\n",
        revision(),
        said("postconf", &["-h", "mail_version"]),
        crate::load::threads(),
        line("/proc/cpuinfo", "model name"),
        kib / 1024 / 1024,
        said("uname", &["-sr"]),
        file_system(queue),
    )
}

/// The commit, and whether the tree differs from it.
fn revision() -> String {
    said(
        "git",
        &[
            "-C",
            env!("CARGO_MANIFEST_DIR"),
            "describe",
            "--always",
            "--dirty",
            "--exclude",
            "*",
        ],
    )
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
