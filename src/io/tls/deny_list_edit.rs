//! Changing the deny-list: what `estafette cert revoke` and `restore` write.
//!
//! **Implements** edits that are whole or not at all (a new file, synced, renamed over the old one, the directory synced)
//! and that lose nothing of each other (a `flock` on the directory). Comments and the order of lines stay.
//! **Does not** tell the daemon: it looks at the file each second.

use std::fs;
use std::io;
use std::path::Path;

use super::deny_list::{parse, read};
use crate::cert::denied::{Denied, Entry, Selector, lines, read_line};
use crate::io::replacing::{directory_of, lock, replace};

/// The mode of a new file: nobody else need know who lost a laptop.
const MODE: u32 = 0o640;

/// What a new file begins with.
const HEAD: &str = "\
# Certificates that this relay refuses, whatever their issuer says: see estafette cert revoke, restore, list.
# One a line: sha256=.. and/or serial=.. issuer=\"/C=..\", then reason=\"..\" since=.. subject=\"..\"
";

/// What became of a request to deny.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denying {
    /// The entry is on disk.
    Added,
    /// This one denies the certificate already; nothing was written.
    Already(Entry),
}

/// All entries of the file; one that does not exist is empty, if its directory is there.
///
/// # Errors
/// The file cannot be read or a line of it is wrong; in words that name the line.
pub fn entries(path: &Path) -> Result<Vec<Entry>, String> {
    let Some(octets) = read(path)? else {
        // A wrong path must not look like an empty list.
        let directory = directory_of(path);
        return match fs::read_dir(&directory) {
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(in_words(&directory, "read", &error)),
        };
    };
    Ok(parse(path, &octets)?.entries().to_vec())
}

/// Adds an entry. On return it survives a power cut.
///
/// # Errors
/// The file is wrong already, or it cannot be written; in words that say what to do.
pub fn deny(path: &Path, entry: &Entry) -> Result<Denying, String> {
    edit(path, |octets, denied| {
        let known = denied
            .entries()
            .iter()
            .find(|known| known.selector.covers(&entry.selector));
        if let Some(known) = known {
            return (Denying::Already(known.clone()), None);
        }
        let mut text = if octets.is_empty() {
            HEAD.as_bytes().to_vec()
        } else {
            octets.to_vec()
        };
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend_from_slice(format!("{entry}\n").as_bytes());
        (Denying::Added, Some(text))
    })
}

/// Removes every entry about these certificates and returns them; none when there were none. On return that survives a
/// power cut.
///
/// # Errors
/// As [`deny`].
pub fn restore(path: &Path, selector: &Selector) -> Result<Vec<Entry>, String> {
    edit(path, |octets, _| {
        let (mut kept, mut removed) = (Vec::new(), Vec::new());
        for line in lines(octets) {
            match read_line(line) {
                Ok(Some(entry)) if entry.selector.meets(selector) => removed.push(entry),
                _ => kept.push(line),
            }
        }
        let text = (!removed.is_empty()).then(|| kept.join(&b'\n'));
        (removed, text)
    })
}

/// Reads the file under the lock, and replaces it when there is a new text.
fn edit<T>(path: &Path, change: impl FnOnce(&[u8], &Denied) -> (T, Option<Vec<u8>>)) -> Result<T, String> {
    // A rename would put a file in the place of a symbolic link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = directory_of(&path);
    let lock = lock(&directory).map_err(|error| in_words(&directory, "changed", &error))?;
    let octets = read(&path)?.unwrap_or_default();
    let denied = parse(&path, &octets).map_err(|error| {
        format!("{error}\nnothing was written: the relay does not read the file before this line is right")
    })?;
    let (result, text) = change(&octets, &denied);
    if let Some(text) = text {
        replace(&path, &lock, &text, MODE).map_err(|error| in_words(&path, "changed", &error))?;
    }
    Ok(result)
}

fn in_words(path: &Path, what: &str, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "; run this as root or as the relay's user",
        io::ErrorKind::NotFound => "; is smtpd_tls_deny_list_file right? The directory must be there",
        _ => "",
    };
    format!("{} cannot be {what}: {error}{hint}", path.display())
}
