//! The files of the demonstration: the example PKI, private files and directories.

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The example PKI, carried in the binary so that the demonstration runs from anywhere.
pub(super) const FILES: [(&str, &[u8]); 9] = [
    ("CAcert.pem", include_bytes!("../../../certs-example/CAcert.pem")),
    ("server.crt", include_bytes!("../../../certs-example/server.crt")),
    ("server.key", include_bytes!("../../../certs-example/server.key")),
    ("nexthop.crt", include_bytes!("../../../certs-example/nexthop.crt")),
    ("nexthop.key", include_bytes!("../../../certs-example/nexthop.key")),
    ("alice.pem", include_bytes!("../../../certs-example/alice.pem")),
    ("alice.key", include_bytes!("../../../certs-example/alice.key")),
    ("rogue.pem", include_bytes!("../../../certs-example/rogue.pem")),
    ("rogue.key", include_bytes!("../../../certs-example/rogue.key")),
];

/// Writes a file that only its owner can read.
pub(super) fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, contents)
}

/// Makes the directory, readable by its owner only.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
