//! A disk with a volatile write cache: what is written waits until a flush, and a power cut takes from it what it likes.
//!
//! A FUSE file system with one file, `disk`. Under a loop device with ext4 on it, the kernel's loop driver turns each
//! flush of the file system into an fsync of that file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};

use crate::crash::random::Random;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Octets that the cache holds at most; past it the disk writes them down by itself.
const CACHE_OCTETS_MAX: usize = 256 << 20;
/// How long a flush takes: power cuts that come at random moments shall find something in the cache.
const FLUSH_TIME: Duration = Duration::from_millis(3);
const FILE: INodeNo = INodeNo(2);
const TTL: Duration = Duration::from_secs(3600);

/// What of the volatile cache survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    Nothing,
    /// Of each sector any of the versions written since the last flush, or none of them.
    Some,
    Everything,
}

/// What a disk makes of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushes {
    /// It writes its cache down before it says that it has.
    Honoured,
    /// It says so, and keeps everything in its cache.
    Ignored,
}

/// The disk's contents.
struct Contents {
    flushed: Vec<u8>,
    /// Sector number to its versions since the last flush, oldest first.
    pending: BTreeMap<usize, Vec<[u8; SECTOR]>>,
    pending_octets: usize,
    flushes: usize,
    honours: Flushes,
    is_off: bool,
}

impl Contents {
    fn read(&self, offset: usize, size: usize) -> Vec<u8> {
        let end = (offset + size).min(self.flushed.len());
        let start = offset.min(end);
        let mut octets = self.flushed[start..end].to_vec();
        for (sector, versions) in self.pending.range(start / SECTOR..end.div_ceil(SECTOR)) {
            let at = sector * SECTOR;
            let (from, to) = (at.max(start), (at + SECTOR).min(end));
            if let Some(last) = versions.last() {
                octets[from - start..to - start].copy_from_slice(&last[from - at..to - at]);
            }
        }
        octets
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = (offset + data.len()).min(self.flushed.len());
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let at = sector * SECTOR;
            let mut octets = [0; SECTOR];
            octets.copy_from_slice(&self.read(at, SECTOR));
            let (from, to) = (at.max(offset), (at + SECTOR).min(end));
            octets[from - at..to - at].copy_from_slice(&data[from - offset..to - offset]);
            self.pending.entry(sector).or_default().push(octets);
            self.pending_octets += SECTOR;
        }
        if self.pending_octets > CACHE_OCTETS_MAX {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.flushes += 1;
        if self.honours == Flushes::Honoured {
            self.settle(|mut versions| versions.pop());
        }
    }

    /// Empties the cache; `choose` says which version of a sector is written down.
    fn settle(&mut self, mut choose: impl FnMut(Vec<[u8; SECTOR]>) -> Option<[u8; SECTOR]>) {
        for (sector, versions) in std::mem::take(&mut self.pending) {
            if let Some(octets) = choose(versions) {
                self.flushed[sector * SECTOR..(sector + 1) * SECTOR].copy_from_slice(&octets);
            }
        }
        self.pending_octets = 0;
    }
}

type Shared = Arc<Mutex<Contents>>;

fn lock(contents: &Shared) -> MutexGuard<'_, Contents> {
    contents.lock().expect("the disk's contents")
}

/// A disk that is switched on: the file system with its file, served by a thread of this process.
pub struct Disk {
    contents: Shared,
    directory: tempfile::TempDir,
    session: Option<BackgroundSession>,
}

/// What was in the cache when the power was cut.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    pub pending_sectors: usize,
    pub flushes: usize,
}

impl Disk {
    /// Switches a disk on that has these contents, a whole number of sectors.
    pub fn switch_on(image: Vec<u8>, honours: Flushes) -> Self {
        assert!(image.len().is_multiple_of(SECTOR), "whole sectors");
        let contents = Arc::new(Mutex::new(Contents {
            flushed: image,
            pending: BTreeMap::new(),
            pending_octets: 0,
            flushes: 0,
            honours,
            is_off: false,
        }));
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("estafette-power-cut".into())];
        let session = fuser::spawn_mount(Server(Arc::clone(&contents)), directory.path(), &config);
        Self {
            contents,
            directory,
            session: Some(session.expect("the FUSE file system is mounted")),
        }
    }

    /// The file that a loop device takes.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Cuts the power, in one instant: what the disk holds then is returned. Whatever is written later goes nowhere.
    pub fn cut(&self, survives: Survives, random: &mut Random) -> (Vec<u8>, Lost) {
        let mut contents = lock(&self.contents);
        contents.is_off = true;
        let lost = Lost {
            pending_sectors: contents.pending.len(),
            flushes: contents.flushes,
        };
        contents.settle(|mut versions| match survives {
            Survives::Nothing => None,
            Survives::Everything => versions.pop(),
            Survives::Some => {
                let count = u64::try_from(versions.len()).expect("small");
                let chosen = usize::try_from(random.within(0..count + 1)).expect("small");
                versions.truncate(chosen);
                versions.pop()
            }
        });
        (std::mem::take(&mut contents.flushed), lost)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(&self.contents).is_off = true;
        // Lazily: the loop device lets its file go a moment after its last user.
        let _ = nix::mount::umount2(self.directory.path(), nix::mount::MntFlags::MNT_DETACH);
        // Not joined: the thread ends with the last reference to the file system.
        drop(self.session.take());
    }
}

struct Server(Shared);

impl Server {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let (kind, size) = if inode == FILE {
            (
                FileType::RegularFile,
                u64::try_from(lock(&self.0).flushed.len()).expect("a size"),
            )
        } else {
            (FileType::Directory, 0)
        };
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset")
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "disk" {
            reply.entry(&TTL, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Past the page cache: each write of the loop device arrives here before it counts as done.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let contents = lock(&self.0);
        if contents.is_off {
            reply.error(Errno::EIO);
        } else {
            reply.data(&contents.read(position(offset), position(size.into())));
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut contents = lock(&self.0);
        if !contents.is_off {
            contents.write(position(offset), data);
        }
        reply.written(u32::try_from(data.len()).expect("a request's size"));
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if !lock(&self.0).pending.is_empty() {
            thread::sleep(FLUSH_TIME);
        }
        let mut contents = lock(&self.0);
        if !contents.is_off {
            contents.flush();
        }
        reply.ok();
    }
}
