//! The library of faults: compiled, steered, asked what has struck. See shim.c.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles it into a directory.
pub(crate) fn build(directory: &Path) -> PathBuf {
    let library = directory.join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut command = Command::new(compiler);
    command.args(["-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o"]);
    let output = command.arg(&library).arg(source).output().expect("a C compiler runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// What fails from now on. Another file each time, so that the library sees the change.
pub(crate) fn set(control: &Path, rules: &str) {
    let _ = fs::remove_file(record(control));
    let new = control.with_extension("new");
    fs::write(&new, rules).expect("written");
    fs::rename(&new, control).expect("renamed");
}

/// The faults that have struck since.
pub(crate) fn struck(control: &Path) -> String {
    fs::read_to_string(record(control)).unwrap_or_default()
}

fn record(control: &Path) -> PathBuf {
    control.with_extension("struck")
}
