//! What the tests of the configuration share.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::fs;
use std::path::Path;

use estafette::config::{Diagnostics, Environment, Loaded, load_text};

/// A machine of the tests' own; files are not looked at.
pub(crate) fn environment() -> Environment {
    Environment {
        hostname: "relay.example.org".into(),
        interfaces: vec!["127.0.0.1/8".parse().unwrap(), "192.0.2.7/24".parse().unwrap()],
        ipv6: true,
        check_files: false,
        public_ca_bundles: vec!["/etc/ssl/certs/ca-certificates.crt".into(), "/etc/ssl/certs".into()],
    }
}

/// Checks a text that stands in no file.
pub(crate) fn load(text: &str) -> Result<Loaded, Diagnostics> {
    load_text(Path::new("/etc/estafette/estafette.toml"), text, &environment())
}

/// The same, for a text that must be good.
pub(crate) fn good(text: &str) -> Loaded {
    load(text).unwrap_or_else(|found| panic!("{found}\nin\n{text}"))
}

/// What is warned of in a good text.
pub(crate) fn warnings(text: &str) -> String {
    let rendered: Vec<String> = good(text).warnings.iter().map(ToString::to_string).collect();
    rendered.join("\n")
}

/// A file of the repository.
pub(crate) fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
