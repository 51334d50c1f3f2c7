//! Changing the password file: what `estafette passwd` writes.
//!
//! **Implements** edits that are whole or not at all. Comments and the order of lines stay; mode and owner too.
//! **Does not** tell the daemon: a reload reads the file again.

use std::fs;
use std::io;
use std::path::Path;

use super::password_file::{self, PasswordFileError};
use super::replacing::{directory_of, lock, replace};

/// The mode of a new file.
const MODE: u32 = 0o600;

/// What a new file begins with.
const HEAD: &str = "# Logins and their argon2id hashes: see estafette passwd.\n";

/// What became of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It has another password now.
    Replaced,
    /// It is gone.
    Removed,
    /// It was not there, and nothing was written.
    Absent,
}

/// Gives a login this hash. On return it survives a power cut.
///
/// # Errors
/// The file is wrong already or cannot be written; in words that say what to do.
pub fn set(path: &Path, login: &str, hash: &str) -> Result<Change, String> {
    let line = format!("{login}:{hash}");
    edit(path, |octets| {
        let (mut lines, found) = split(octets, login);
        if let Some(at) = found {
            if let Some(old) = lines.get_mut(at) {
                *old = line.as_bytes();
            }
            return (Change::Replaced, Some(lines.join(&b'\n')));
        }
        let mut text = if octets.is_empty() {
            HEAD.as_bytes().to_vec()
        } else {
            octets.to_vec()
        };
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
        (Change::Added, Some(text))
    })
}

/// Takes a login out. On return that survives a power cut.
///
/// # Errors
/// As [`set`].
pub fn remove(path: &Path, login: &str) -> Result<Change, String> {
    edit(path, |octets| {
        let (mut lines, found) = split(octets, login);
        match found {
            Some(at) => {
                lines.remove(at);
                (Change::Removed, Some(lines.join(&b'\n')))
            }
            None => (Change::Absent, None),
        }
    })
}

/// The lines, and which of them is the login's.
fn split<'a>(octets: &'a [u8], login: &str) -> (Vec<&'a [u8]>, Option<usize>) {
    let lines: Vec<&[u8]> = octets.split(|octet| *octet == b'\n').collect();
    let is_its = |line: &&[u8]| matches!(password_file::read_line(line), Ok(Some((name, _))) if name == login);
    let found = lines.iter().position(is_its);
    (lines, found)
}

/// Reads the file under the lock, and replaces it when there is a new text.
fn edit(path: &Path, change: impl FnOnce(&[u8]) -> (Change, Option<Vec<u8>>)) -> Result<Change, String> {
    // A rename would put a file in the place of a symbolic link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = directory_of(&path);
    let lock = lock(&directory).map_err(|error| in_words(&directory, &error))?;
    let octets = match password_file::read_octets(&path) {
        Ok((octets, _)) => octets,
        Err(PasswordFileError::Read(error)) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("{} {error}", path.display())),
    };
    password_file::parse(&octets).map_err(|error| {
        format!(
            "{}, {error}\nnothing was written: make this line right first",
            path.display()
        )
    })?;
    let (result, text) = change(&octets);
    if let Some(text) = text {
        replace(&path, &lock, &text, MODE).map_err(|error| in_words(&path, &error))?;
    }
    Ok(result)
}

fn in_words(path: &Path, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "; run this as root or as the relay's user",
        io::ErrorKind::NotFound => "; its directory must be there",
        _ => "",
    };
    format!("{} cannot be changed: {error}{hint}", path.display())
}
