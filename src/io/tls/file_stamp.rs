//! What tells one state of a watched file from another.
//!
//! **Implements** the look of the deny-list and of revocation lists at their files: one `stat`. The time of change counts
//! beside that of modification, which `cp -p` and `rsync -t` set back.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// One state of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum FileStamp {
    /// It is not there.
    #[default]
    Missing,
    /// Device, inode, size, modification and change in nanoseconds.
    There([u64; 3], [i128; 2]),
    /// It cannot be looked at.
    Unreachable(io::ErrorKind),
}

impl FileStamp {
    /// The state of a file now. To be taken before reading: what changes meanwhile is noticed the next time.
    pub(super) fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(found) => {
                let nanoseconds = |seconds: i64, part: i64| i128::from(seconds) * 1_000_000_000 + i128::from(part);
                let modified = nanoseconds(found.mtime(), found.mtime_nsec());
                let changed = nanoseconds(found.ctime(), found.ctime_nsec());
                Self::There([found.dev(), found.ino(), found.size()], [modified, changed])
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(error) => Self::Unreachable(error.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_written_anew_with_the_old_size_and_time_has_another_stamp() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), "old").expect("writing");
        let before = FileStamp::of(file.path());
        let modified = fs::metadata(file.path())
            .expect("its times")
            .modified()
            .expect("a time");
        assert_eq!(FileStamp::of(file.path()), before);
        // Clocks of file systems tick; what is looked for is a change, however soon it shows.
        for _ in 0..1_000 {
            fs::write(file.path(), "new").expect("writing");
            let open = fs::File::options().append(true).open(file.path()).expect("opening");
            open.set_modified(modified).expect("setting its time");
            if FileStamp::of(file.path()) != before {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("the change does not show");
    }
}
