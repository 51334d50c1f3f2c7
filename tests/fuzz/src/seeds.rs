//! Seeds from the dialogues: what their clients say, as inputs of the targets.

use std::fs;
use std::io;
use std::path::Path;

use crate::{dialogue, packets, session};

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
                count += seed(below, "chunks", &format!("{name}-{number}"), &in_chunks(said))?;
                for (line_number, line) in said.split(|octet| *octet == b'\n').take(20).enumerate() {
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    count += seed(below, "command_parser", &format!("{name}-{number}-{line_number}"), line)?;
                }
            }
            for (configuration, _) in (0..).zip(session::CONFIGURATIONS) {
                let input = dialogue::session_input(&text, configuration);
                count += seed(below, "session", &format!("{name}-{configuration}"), &input)?;
            }
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
    for (target, inputs) in packets::all() {
        for (number, input) in inputs.iter().enumerate() {
            count += seed(below, target, &format!("written-{number}"), input)?;
        }
    }
    Ok(count)
}

/// Octets in pieces of 5, in chunks of growing length.
fn in_chunks(octets: &[u8]) -> Vec<u8> {
    let mut input = vec![5];
    let mut rest = octets;
    for length in [1, 0, 2, 30].into_iter().chain(std::iter::repeat(u8::MAX)) {
        if rest.is_empty() {
            break;
        }
        let (chunk, tail) = rest.split_at(usize::from(length).min(rest.len()));
        input.push(u8::try_from(chunk.len()).unwrap_or(u8::MAX));
        input.extend_from_slice(chunk);
        rest = tail;
    }
    input
}

fn seed(below: &Path, target: &str, name: &str, octets: &[u8]) -> io::Result<usize> {
    let folder = below.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), octets)?;
    Ok(1)
}
