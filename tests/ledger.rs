//! Pages that list what the code has: docs/dependencies.md the dependencies of Cargo.toml, docs/operations.md the log
//! events.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_direct_dependency_stands_in_the_ledger() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml"))
        .expect("manifest")
        .parse()
        .expect("TOML");
    let names = |section: &str| -> BTreeSet<String> {
        manifest[section].as_table().expect("a table").keys().cloned().collect()
    };
    let declared: BTreeSet<String> = names("dependencies")
        .union(&names("dev-dependencies"))
        .cloned()
        .collect();
    let ledger = fs::read_to_string(root.join("docs/dependencies.md")).expect("ledger");
    let listed: BTreeSet<String> = ledger.split("**").skip(1).step_by(2).map(str::to_owned).collect();
    assert_eq!(declared, listed);
}

/// Event names are the string literals of `src/observe` of the form `noun.verb_past`.
#[test]
fn every_log_event_stands_in_the_operations_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/operations.md")).expect("page");
    let event = regex::Regex::new(r#""([a-z_]+\.[a-z_]+)""#).expect("a regex");
    let mut events = BTreeSet::new();
    for file in fs::read_dir(root.join("src/observe")).expect("folder").flatten() {
        let text = fs::read_to_string(file.path()).expect("source");
        events.extend(event.captures_iter(&text).map(|found| found[1].to_owned()));
    }
    assert!(events.len() > 15, "the events are found: {events:?}");
    let missing: Vec<_> = events
        .iter()
        .filter(|event| !page.contains(&format!("`{event}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:?}");
}
