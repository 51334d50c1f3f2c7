//! What a server costs: processor time of its whole process tree, resident memory, fsyncs, disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Ticks of /proc/PID/stat in a second: fixed by the kernel's interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor seconds, user and system, of a process, its descendants, and the children that each of them has waited
/// for. Postfix's daemons are reaped by its master, so ended ones are counted there.
pub fn cpu_seconds(root: u32) -> f64 {
    let all = processes();
    let mut total = 0;
    let mut tree = vec![root];
    while let Some(pid) = tree.pop() {
        total += all.get(&pid).map_or(0, |process| process.ticks);
        tree.extend(
            all.iter()
                .filter(|(_, process)| process.parent == pid)
                .map(|(child, _)| *child),
        );
    }
    f64::from(u32::try_from(total).unwrap_or(u32::MAX)) / TICKS_PER_SECOND
}

/// Waits until a tree of processes has used no processor time for a while, at most so long.
pub fn wait_until_idle(root: u32, at_most: Duration) {
    let deadline = Instant::now() + at_most;
    let mut before = cpu_seconds(root);
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(300));
        let now = cpu_seconds(root);
        if now - before < 0.02 {
            return;
        }
        before = now;
    }
}

/// The first child of a process: the server behind the strace that it was started with.
pub fn child_of(parent: u32) -> Option<u32> {
    let all = processes();
    all.iter()
        .find(|(_, process)| process.parent == parent)
        .map(|(pid, _)| *pid)
}

struct Process {
    parent: u32,
    ticks: u64,
}

fn processes() -> BTreeMap<u32, Process> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let stat = pid.and_then(|_: u32| fs::read_to_string(entry.path().join("stat")).ok());
        if let (Some(pid), Some(process)) = (pid, stat.as_deref().and_then(process)) {
            found.insert(pid, process);
        }
    }
    found
}

/// proc_pid_stat(5): the command's name stands in parentheses and may hold blanks.
fn process(stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    // utime, stime, cutime, cstime.
    let ticks = (14..=17).map(number).sum::<Option<u64>>()?;
    Some(Process {
        parent: u32::try_from(number(4)?).ok()?,
        ticks,
    })
}

/// A line of /proc/PID/status in KiB: `VmRSS` is resident now, `VmHWM` the most that ever was.
pub fn memory_kib(pid: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let found = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    found
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Octets of disk that a directory takes: blocks, not lengths.
pub fn disk_octets(directory: &Path) -> u64 {
    let mut total = 0;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        total += metadata.blocks() * 512;
        if metadata.is_dir() {
            total += disk_octets(&entry.path());
        }
    }
    total
}

/// The words that start a command under strace, which notes each call that syncs, one line each, and stops at no other
/// call (`--seccomp-bpf`), so that the rhythm of the server stays what it is.
pub fn strace_words(trace: &Path) -> Vec<String> {
    let calls = "trace=fsync,fdatasync,sync_file_range,sync,syncfs,msync";
    let mut words: Vec<String> = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-e",
        calls,
        "-e",
        "signal=none",
        "-o",
    ]
    .map(str::to_owned)
    .to_vec();
    words.push(trace.display().to_string());
    words
}

/// Calls noted so far. A call that another thread's call interrupts stands on two lines; the second says `resumed`.
pub fn synced(trace: &Path) -> usize {
    let text = fs::read_to_string(trace).unwrap_or_default();
    text.lines()
        .filter(|line| line.contains("sync") && !line.contains("resumed>"))
        .count()
}
