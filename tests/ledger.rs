//! docs/dependencies.md names exactly the dependencies of Cargo.toml.

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
