//! The shape of the source, checked: layers, cycles, sizes, headers, unfinished words.
//!
//! **Implements** the rules of `src/lib.rs` and docs/architecture.md. A tolerated violation would be listed in
//! [`TOLERATED`] with its reason; the list is meant to be empty.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const TOLERATED: &[&str] = &[];
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Top-level modules and their layers; equal layers are siblings and may not use each other.
const LAYERS: &[(&str, u8)] = &[
    ("wire", 0),
    ("cert", 0),
    ("net", 0),
    ("time", 0),
    ("mail", 1),
    ("policy", 1),
    ("session", 2),
    ("queue", 2),
    ("outbound", 2),
    ("observe", 3),
    ("admin", 3),
    ("io", 4),
    ("config", 5),
    ("daemon", 6),
    ("cli", 7),
];

/// Words that L0 to L3 may not contain outside their tests: the world.
const WORLD: &[&str] = &[
    "tokio",
    "rustls::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "Instant::now",
    "SystemTime",
    "async fn",
    "async move",
];

struct Source {
    /// `policy::chain` for `src/policy/chain.rs`, `policy` for `src/policy/mod.rs`.
    module: String,
    path: PathBuf,
    text: String,
}

impl Source {
    fn top(&self) -> &str {
        self.module.split("::").next().unwrap_or_default()
    }

    fn is_mod_file(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "mod.rs")
    }

    /// The text without comments and without the test module at the end.
    fn code(&self) -> String {
        let body = self.text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
        body.lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 20, "the source tree is found");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("source folders are readable") {
        let path = entry.expect("entries are readable").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).expect("below src").with_extension("");
            let parts: Vec<_> = relative
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            let module = parts.join("::");
            let module = module.strip_suffix("::mod").unwrap_or(&module).to_owned();
            if matches!(module.as_str(), "lib" | "main") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            found.push(Source { module, path, text });
        }
    }
}

/// Absolute module paths that a file names through `crate::` or `super::`.
fn references(source: &Source) -> Vec<String> {
    let code = source.code();
    let mut found = Vec::new();
    for (prefix, base) in [("crate::", String::new()), ("super::", parent(source))] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().last();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &code[at + prefix.len()..];
            for tail in expand(rest) {
                found.push(if base.is_empty() {
                    tail
                } else {
                    format!("{base}::{tail}")
                });
            }
        }
    }
    found
}

fn parent(source: &Source) -> String {
    source
        .module
        .rsplit_once("::")
        .map_or(String::new(), |(head, _)| head.to_owned())
}

/// The paths of `a::b`, `a::{b, c::d}`.
fn expand(rest: &str) -> Vec<String> {
    let end = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(rest.len());
    let head = rest[..end].trim_end_matches(':').to_owned();
    if !rest[end..].starts_with('{') {
        return vec![head];
    }
    let mut depth = 0;
    let mut group = String::new();
    for c in rest[end..].chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        group.push(c);
        if depth == 0 {
            break;
        }
    }
    let inside = &group[1..group.len() - 1];
    let mut parts = vec![String::new()];
    for c in inside.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("one part at least").push(c);
    }
    let join = |tail: String| {
        if head.is_empty() {
            tail
        } else {
            format!("{head}::{tail}")
        }
    };
    parts
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
        .flat_map(expand)
        .map(join)
        .collect()
}

/// The file that a path leads to: the longest module that is a prefix of it.
fn resolve<'a>(path: &str, modules: &'a BTreeSet<String>) -> Option<&'a String> {
    let parts: Vec<&str> = path.split("::").collect();
    (1..=parts.len())
        .rev()
        .find_map(|n| modules.get(&parts[..n].join("::")))
}

fn report(kind: &str, mut problems: Vec<String>) {
    problems.retain(|problem| !TOLERATED.iter().any(|known| problem.contains(known)));
    assert!(problems.is_empty(), "{kind}:\n  {}", problems.join("\n  "));
}

#[test]
fn modules_use_lower_layers_only() {
    let layer_of = |top: &str| LAYERS.iter().find(|(name, _)| *name == top).map(|(_, layer)| *layer);
    let mut problems = Vec::new();
    for source in sources() {
        let Some(own) = layer_of(source.top()) else {
            problems.push(format!("{} is in no layer", source.module));
            continue;
        };
        for path in references(&source) {
            let top = path.split("::").next().unwrap_or_default();
            if let Some(other) = layer_of(top)
                && top != source.top()
                && other >= own
            {
                problems.push(format!("{} (L{own}) uses {path} (L{other})", source.module));
            }
        }
    }
    report("upward or sideways paths", problems);
}

#[test]
fn files_form_no_cycle() {
    let sources = sources();
    let modules: BTreeSet<String> = sources.iter().map(|source| source.module.clone()).collect();
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in &sources {
        for path in references(source).iter().filter(|path| !path.is_empty()) {
            if let Some(target) = resolve(path, &modules).filter(|target| **target != source.module) {
                edges.entry(&source.module).or_default().insert(target);
            }
        }
        if source.is_mod_file() {
            // A folder's mod.rs reaches its children without `crate::` or `super::`.
            let prefix = format!("{}::", source.module);
            for child in modules.iter().filter_map(|module| module.strip_prefix(&prefix)) {
                if !child.contains("::") && source.code().contains(&format!("{child}::")) {
                    let target = modules.get(&format!("{prefix}{child}")).expect("it is a module");
                    edges.entry(&source.module).or_default().insert(target);
                }
            }
        }
    }
    let mut problems = Vec::new();
    for start in edges.keys() {
        let mut seen = BTreeSet::new();
        let mut stack: Vec<&str> = edges[start].iter().copied().collect();
        while let Some(at) = stack.pop() {
            if at == *start {
                problems.push(format!("{start} reaches itself; its edges: {:?}", edges[start]));
                break;
            }
            if seen.insert(at) {
                stack.extend(edges.get(at).into_iter().flatten());
            }
        }
    }
    report("cycles", problems);
}

#[test]
fn files_and_functions_are_short() {
    let mut problems = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            problems.push(format!("{} has {} lines", source.path.display(), lines.len()));
        }
        for (at, line) in lines.iter().enumerate() {
            let trimmed = line.trim_start();
            let words = [
                "fn ",
                "pub fn ",
                "async fn ",
                "pub async fn ",
                "pub(crate) fn ",
                "pub(super) fn ",
                "pub(super) async fn ",
                "const fn ",
                "pub const fn ",
            ];
            if !words.iter().any(|word| trimmed.starts_with(word)) || trimmed.ends_with(';') {
                continue;
            }
            let indent = " ".repeat(line.len() - trimmed.len());
            let end = lines[at..]
                .iter()
                .position(|line| *line == format!("{indent}}}"))
                .unwrap_or(0);
            let is_table = at > 0 && lines[at - 1].contains("// tidy: table");
            if end > FUNCTION_LINES_MAX && !is_table {
                problems.push(format!("{}:{} function of {end} lines", source.path.display(), at + 1));
            }
        }
    }
    report("too long", problems);
}

#[test]
fn every_file_says_what_it_is_for() {
    let missing = |source: &Source| !source.text.starts_with("//! ");
    let problems = sources()
        .iter()
        .filter(|s| missing(s))
        .map(|s| s.path.display().to_string())
        .collect();
    report("no module header", problems);
}

#[test]
fn nothing_is_unfinished() {
    let words = [
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("db", "g!("),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    let mut problems = Vec::new();
    for source in sources() {
        for word in words.iter().filter(|word| source.text.contains(**word)) {
            problems.push(format!("{} says {word}", source.path.display()));
        }
    }
    report("unfinished", problems);
}

#[test]
fn pure_layers_do_not_touch_the_world() {
    let mut problems = Vec::new();
    for source in sources() {
        let is_pure = LAYERS.iter().any(|(name, layer)| *name == source.top() && *layer <= 3);
        if source.module.ends_with("_tests") {
            continue;
        }
        let code = source.code();
        for word in WORLD.iter().filter(|word| is_pure && code.contains(**word)) {
            problems.push(format!("{} says {word}", source.path.display()));
        }
        if is_pure && source.top() != "observe" && code.contains("tracing::") {
            problems.push(format!("{} logs", source.path.display()));
        }
    }
    report("impure", problems);
}
