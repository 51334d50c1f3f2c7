//! Disks that are full, over quota, without inodes, or mounted read-only meanwhile.

use std::process::Command;

use crate::common::wait_until;
use crate::world::{EDQUOT, EIO, ENOSPC, EROFS, LARGE, World};

/// The ballast as large as it gets on a small disk; the mark is 1.5 MB.
const SMALL_TMPFS: &str = r#"mount -t tmpfs -o size=40m,mode=0700 tmpfs "$1""#;

/// No space in the group at hand, once: 452 to its new messages, and everything goes on.
#[test]
fn group_without_space_is_refused_with_452_whichever_write_it_is() {
    let mut world = World::start();
    assert_eq!(world.send("b@example.net", 10).code, 250);
    world.expect_all_delivered_once();
    let mut refused = 0;
    // A message writes a handful of pages; its completion does as well.
    for nth in 1.. {
        world.faults(&format!("write -wal {nth} 1 error {ENOSPC}"));
        let reply = world.send("b@example.net", 10);
        assert!([250, 452].contains(&reply.code), "{}", reply.text);
        refused += usize::from(reply.code == 452);
        world.expect_all_delivered_once();
        if world.struck().is_empty() {
            break;
        }
        world.faults("");
        assert_eq!(world.send("b@example.net", 10).code, 250);
        assert!(nth < 60, "the sequence has an end");
    }
    assert!(refused > 0, "an enqueue was hit");
    assert!(!world.relay.log_text().contains("queue.refuses_mail"));
}

#[test]
fn disk_full_for_a_while_still_delivers_and_recovers_by_itself() {
    let mut world = World::prepare("");
    world.spawn_mounted(SMALL_TMPFS);
    assert_eq!(world.send("defer@example.net", 10).code, 250);
    wait_until("it was tried", || world.relay.log_text().contains("delivery.deferred"));
    let output = world.inside(r#"head -c 100m /dev/zero > "$1/filler" || true"#);
    assert!(output.status.success());
    for octets in [10, LARGE] {
        let refused = world.send("b@example.net", octets);
        assert!(refused.text.starts_with("452 4.3.1"), "{}", refused.text);
    }
    // Settling still works: the flush makes the deferred one due, and its retry is written down.
    let flushed = world.command_inside("flush");
    assert!(flushed.status.success(), "{}", String::from_utf8_lossy(&flushed.stderr));
    wait_until("it was tried again", || {
        world.relay.log_text().matches("delivery.deferred").count() >= 2
    });
    world.inside(r#"rm "$1/filler""#);
    wait_until("new mail is taken again", || {
        world.send("b@example.net", LARGE).code == 250
    });
    wait_until("they are delivered", || world.sink.count() >= 1);
    wait_until("the ballast is there again", || {
        let _ = world.send("b@example.net", 10);
        world.inside(r#"test -s "$1/reserve""#).status.success()
    });
    assert!(!world.relay.log_text().contains("queue.refuses_mail"));
}

#[test]
fn quota_used_up_for_a_while_counts_as_a_full_disk() {
    let mut world = World::start();
    assert_eq!(world.send("defer@example.net", 10).code, 250);
    wait_until("it was tried", || world.relay.log_text().contains("delivery.deferred"));
    // The ballast gives back less than is wanted, and nothing new can be had.
    let used_up = format!(
        "write -wal 1 1 error {EDQUOT}\nwrite probe 1 0 error {EDQUOT}\nallocate reserve 1 0 error {EDQUOT}\n\
         write data/ 1 0 error {EDQUOT}"
    );
    world.faults(&used_up);
    for octets in [10, LARGE, 10] {
        let refused = world.send("b@example.net", octets);
        assert!(refused.text.starts_with("452 4.3.1"), "{}", refused.text);
    }
    world.faults("");
    wait_until("new mail is taken again", || {
        world.send("b@example.net", LARGE).code == 250
    });
    assert!(!world.relay.log_text().contains("queue.refuses_mail"));
}

#[test]
fn inode_table_full_refuses_large_mail_with_452_and_takes_small_mail() {
    let mut world = World::prepare("");
    // The directory of mail data takes 258 inodes, the rest is the queue's own.
    world.spawn_mounted(r#"mount -t tmpfs -o size=200m,mode=0700,nr_inodes=300 tmpfs "$1""#);
    let output =
        world.inside(r#"n=0; while touch "$1/data/incoming/filler$n"; do n=$((n+1)); done 2>/dev/null; test $n -gt 5"#);
    assert!(output.status.success(), "inodes were left before");
    let refused = world.send("b@example.net", LARGE);
    assert!(refused.text.starts_with("452 4.3.1"), "{}", refused.text);
    assert_eq!(world.send("b@example.net", 10).code, 250);
    world.inside(r#"rm -f "$1"/data/incoming/filler*"#);
    assert_eq!(world.send("b@example.net", LARGE).code, 250);
    wait_until("both are delivered", || world.sink.count() == 2);
}

#[test]
fn disk_made_read_only_under_the_daemon_ends_it_with_an_error_and_loses_nothing() {
    let mut world = World::prepare("");
    let image = world.relay.file("image");
    let script = format!(
        r#"truncate -s 64M {0}; mkfs.ext4 -q {0}; mount -o loop,errors=remount-ro {0} "$1"; rm -rf "$1/lost+found"; chmod 700 "$1""#,
        image.display()
    );
    let may_mount = Command::new("unshare")
        .args([
            "--mount",
            "sh",
            "-c",
            &format!("{script}; ls /sys/fs/ext4/loop*/trigger_fs_error"),
            "sh",
        ])
        .arg(world.relay.queue())
        .output()
        .is_ok_and(|output| output.status.success());
    if may_mount {
        world.spawn_mounted(&script);
    } else {
        eprintln!("no ext4 can be mounted here: the faulty layer says EROFS instead");
        world.spawn();
    }
    assert_eq!(world.send("defer@example.net", 10).code, 250);
    wait_until("it was tried", || world.relay.log_text().contains("delivery.deferred"));
    if may_mount {
        // What ext4 does when it meets damage of its own.
        let trigger =
            r#"device=$(findmnt -n -o SOURCE "$1"); echo test > "/sys/fs/ext4/${device#/dev/}/trigger_fs_error""#;
        let output = world.inside(trigger);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    } else {
        world.faults(
            &["write", "sync", "create", "rename", "allocate"]
                .map(|call| format!("{call} * 1 0 error {EROFS}\n"))
                .concat(),
        );
    }
    let refused = world.send("b@example.net", 10);
    assert_eq!(refused.code, 451, "{}", refused.text);
    world.expect_failure();
    world.expect_logged("queue.failed");
    world.faults("");
    if may_mount {
        world.spawn_mounted(&format!(
            r#"e2fsck -fp {0} >/dev/null || true; mount -o loop {0} "$1""#,
            image.display()
        ));
    } else {
        world.spawn();
    }
    let listed = world.command_inside("list --json");
    assert_eq!(
        String::from_utf8_lossy(&listed.stdout).lines().count(),
        1,
        "what was acknowledged is there"
    );
    assert_eq!(world.send("b@example.net", LARGE).code, 250);
    wait_until("it is delivered", || world.sink.count() == 1);
}

#[test]
fn ballast_that_cannot_be_made_is_a_warning() {
    let mut world = World::prepare("");
    world.faults(&format!("allocate reserve 1 0 error {EIO}"));
    world.spawn();
    world.expect_logged("the ballast of");
    assert_eq!(world.send("b@example.net", 10).code, 250);
    world.expect_all_delivered_once();
}
