//! Small files that a command edits while the daemon reads them: a new one takes the place of the old one.
//!
//! **Implements** edits that are whole or not at all (a new file, synced, renamed over the old one, the directory synced)
//! and that lose nothing of each other (a `flock` on the directory).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// How often, and how long apart, the lock is tried: an edit takes milliseconds, so ten seconds mean that somebody hangs.
const LOCK_ATTEMPTS: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The directory of a file.
pub fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The directory, locked: the file itself is another one after each edit.
///
/// # Errors
/// The system's, or that another process keeps it.
pub fn lock(directory: &Path) -> io::Result<File> {
    let directory = File::open(directory)?;
    for _ in 0..LOCK_ATTEMPTS {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(TryLockError::WouldBlock) => sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    let message = "another process has kept its directory locked for ten seconds";
    Err(io::Error::new(io::ErrorKind::WouldBlock, message))
}

/// Puts a new file in the place of the old one. It belongs to whom the old one belonged to; the first one, when made by
/// root, to the owner of the directory, so that the daemon can read it. On return it survives a power cut.
///
/// # Errors
/// The system's; the old file is as it was then.
pub fn replace(path: &Path, directory: &File, text: &[u8], mode_of_new: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let (mode, like) = match fs::metadata(path) {
        Ok(old) => (old.permissions().mode() & 0o7777, old),
        Err(_) => (mode_of_new, directory.metadata()?),
    };
    // One may be left from an edit that was interrupted. It is never opened: it could be a link to anywhere.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = (|| {
        file.write_all(text)?;
        if nix::unistd::geteuid().is_root() {
            fchown(&file, Some(like.uid()), Some(like.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    directory.sync_all()
}
