//! The queue directory: made, checked, and held by one daemon at a time.
//!
//! **Implements** a `flock` on the file `lock`, which holds the pid of the daemon.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::error::OpenError;

/// Held while the daemon uses the directory; the kernel frees it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

/// Makes the directory (mode 0700) when it is missing, checks owner and mode, and takes the lock.
pub(super) fn take(directory: &Path) -> Result<DirectoryLock, OpenError> {
    prepare(directory)?;
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(OpenError::io(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            return Err(OpenError::Locked {
                directory: directory.to_owned(),
                pid: if known {
                    pid.trim().to_owned()
                } else {
                    "unknown".to_owned()
                },
            });
        }
        Err(TryLockError::Error(source)) => return Err(OpenError::Io { path, source }),
    }
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()))
        .map_err(OpenError::io(&path))?;
    Ok(DirectoryLock { _file: file })
}

fn prepare(directory: &Path) -> Result<(), OpenError> {
    if !directory.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(OpenError::io(directory))?;
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(OpenError::io(parent))?;
    }
    let found = fs::metadata(directory).map_err(OpenError::io(directory))?;
    let directory = directory.to_owned();
    let user = nix::unistd::geteuid().as_raw();
    if !found.is_dir() {
        return Err(OpenError::NotADirectory { directory });
    }
    if found.uid() != user {
        let owner = found.uid();
        return Err(OpenError::Owner { directory, owner, user });
    }
    // Every file in it is for its owner only; what others must not do is put or take files.
    if found.mode() & 0o022 != 0 {
        let mode = found.mode() & 0o777;
        return Err(OpenError::Permissions { directory, mode });
    }
    Ok(())
}
