//! Seeds from the dialogues: what their clients say, as inputs of the targets.

use std::fs;
use std::io;
use std::path::Path;

use crate::dialogue;

/// Writes the seeds of every target below a folder, one file each.
///
/// # Errors
/// A dialogue cannot be read, or a seed not be written.
pub fn write(below: &Path) -> io::Result<usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = 0;
    for entry in fs::read_dir(root.join("tests/dialogues"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "smtp") {
            let text = fs::read_to_string(&path)?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            for (number, said) in dialogue::client_blocks(&text).iter().enumerate() {
                count += seed(
                    below,
                    "line_splitter",
                    &format!("{name}-{number}"),
                    &[&[7], &said[..]].concat(),
                )?;
                count += seed(
                    below,
                    "mail_data",
                    &format!("{name}-{number}"),
                    &[&[3], &said[..]].concat(),
                )?;
                for (line_number, line) in said.split(|octet| *octet == b'\n').take(20).enumerate() {
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    count += seed(below, "command_parser", &format!("{name}-{number}-{line_number}"), line)?;
                }
            }
            count += seed(below, "session", &name, &dialogue::session_input(&text))?;
        }
    }
    for entry in fs::read_dir(root.join("certs-example"))? {
        let path = entry?.path();
        let Ok(pem) = fs::read(&path) else { continue };
        let mut pem = pem.as_slice();
        let certificates = rustls_pemfile::certs(&mut pem);
        for (number, der) in certificates.filter_map(Result::ok).enumerate() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            count += seed(below, "certificate_names", &format!("{name}-{number}"), &der)?;
        }
    }
    for entry in fs::read_dir(root.join("config"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            count += seed(below, "configuration", &name, &fs::read(&path)?)?;
        }
    }
    Ok(count)
}

fn seed(below: &Path, target: &str, name: &str, octets: &[u8]) -> io::Result<usize> {
    let folder = below.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), octets)?;
    Ok(1)
}
