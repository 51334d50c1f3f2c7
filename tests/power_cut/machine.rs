//! The machine around the disk: mounts of its own, an ext4 made once, a loop device for each time the power comes back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::crash::random::Random;
use crate::disk::{Disk, Flushes, Lost, Survives};

/// Octets of the disk.
const SIZE: u64 = 192 << 20;

/// Says on stderr, and in the end by a failure, that the tests need root; whether they are to run.
///
/// # Panics
/// Where not root, unless the environment variable `ESTAFETTE_POWER_CUT` is `left-out`.
pub fn is_to_run() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    eprintln!("THE POWER-CUT TESTS NEED ROOT, for FUSE, a loop device and mounts: they do not run.");
    let left_out = std::env::var("ESTAFETTE_POWER_CUT").is_ok_and(|value| value == "left-out");
    assert!(
        left_out,
        "run this as root, or set ESTAFETTE_POWER_CUT=left-out to leave the power-cut tests out"
    );
    false
}

/// Gives this thread, and what it starts from now on, mounts that nobody else sees and that end with the process.
pub fn enter_private_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
}

/// A disk with a new ext4 on it.
pub fn formatted() -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(SIZE).expect("sparse");
    run("mkfs.ext4", &["-q", "-F", "-m", "0"], &[file.path()]);
    fs::read(file.path()).expect("the image")
}

/// A disk that is on, with its ext4 mounted.
pub struct Machine {
    /// `None` once the power was cut.
    disk: Option<Disk>,
    mounted_at: PathBuf,
}

impl Machine {
    /// Switches on and mounts: ext4 replays its journal.
    pub fn boot(image: Vec<u8>, flushes: Flushes, mount_point: &Path) -> Self {
        fs::create_dir_all(mount_point).expect("a mount point");
        let disk = Disk::switch_on(image, flushes);
        let mut machine = Self {
            disk: None,
            mounted_at: mount_point.to_owned(),
        };
        // A file system that finds itself damaged must not go on as if nothing were.
        let file = disk.file();
        machine.disk = Some(disk);
        run(
            "mount",
            &["-t", "ext4", "-o", "loop,errors=remount-ro"],
            &[&file, mount_point],
        );
        fs::set_permissions(mount_point, fs::Permissions::from_mode(0o700)).expect("chmod");
        machine
    }

    /// Cuts the power and returns what the disk holds. What runs on the machine still has to be killed.
    pub fn cut(&self, survives: Survives, random: &mut Random) -> (Vec<u8>, Lost) {
        self.disk.as_ref().expect("switched on").cut(survives, random)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Lazily: it succeeds whoever still has files open. The loop device goes with the mount.
        let _ = umount2(&self.mounted_at, MntFlags::MNT_DETACH);
        drop(self.disk.take());
    }
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) {
    let output = Command::new(program)
        .args(arguments)
        .args(paths)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
