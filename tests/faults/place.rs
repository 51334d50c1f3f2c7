//! Where the queue lies: whose it is, whether it is still there, whether another daemon has it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

use crate::common::free_port;
use crate::world::{LARGE, World};

#[test]
fn directory_that_others_can_write_is_refused() {
    let world = World::prepare("");
    fs::set_permissions(world.relay.queue(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let said = world.expect_refused_start();
    assert!(
        said.contains("has mode 777, others could change mail; chmod 700 it"),
        "{said}"
    );
}

#[test]
fn directory_of_somebody_else_is_refused_naming_both() {
    let world = World::prepare("");
    if nix::unistd::geteuid().is_root() {
        chown(world.relay.queue(), Some(65_534), None).expect("chown");
        let said = world.expect_refused_start();
        assert!(
            said.contains("belongs to uid 65534, the daemon runs as uid 0; chown it"),
            "{said}"
        );
        return;
    }
    eprintln!("not root: a directory of root stands for one of somebody else");
    let text = fs::read_to_string(world.relay.config()).expect("readable");
    world
        .relay
        .write_config(&text.replace("queue_directory = \"queue\"", "queue_directory = \"/\""));
    let said = world.expect_refused_start();
    assert!(said.contains("belongs to uid 0, the daemon runs as uid"), "{said}");
}

#[test]
fn second_daemon_is_refused_naming_the_pid_of_the_first() {
    let mut world = World::start();
    let text = fs::read_to_string(world.relay.config()).expect("readable");
    let own = format!("127.0.0.1:{}", world.relay.port);
    world
        .relay
        .write_config(&text.replace(&own, &format!("127.0.0.1:{}", free_port())));
    let said = world.expect_refused_start();
    let pid = world.relay.pid();
    assert!(said.contains(&format!("is in use by process {pid}")), "{said}");
    assert_eq!(world.send("b@example.net", 10).code, 250);
    world.expect_all_delivered_once();
}

#[test]
fn queue_directory_removed_under_the_daemon_is_a_fault_and_no_250() {
    for octets in [10, LARGE] {
        let mut world = World::start();
        assert_eq!(world.send("b@example.net", 10).code, 250);
        world.expect_all_delivered_once();
        fs::rename(world.relay.queue(), world.relay.file("elsewhere")).expect("moved");
        let refused = world.send("b@example.net", octets);
        assert_eq!(refused.code, 451, "{}", refused.text);
        if octets == LARGE {
            // A file that cannot be made is its message's matter; the next commit finds out.
            assert_eq!(world.send("b@example.net", 10).code, 451);
        }
        world.expect_failure();
        world.expect_logged("has vanished");
        fs::rename(world.relay.file("elsewhere"), world.relay.queue()).expect("moved back");
        world.spawn();
        world.expect_all_delivered_once();
    }
}

#[test]
fn queue_directory_unmounted_under_the_daemon_is_a_fault_and_no_250() {
    let mut world = World::prepare("");
    world.spawn_mounted(r#"mount -t tmpfs -o size=200m,mode=0700 tmpfs "$1""#);
    assert_eq!(world.send("b@example.net", 10).code, 250);
    let output = world.inside(r#"umount --lazy "$1""#);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let refused = world.send("b@example.net", 10);
    assert_eq!(refused.code, 451, "{}", refused.text);
    world.expect_failure();
    world.expect_logged("queue.failed");
    let left = fs::read_dir(world.relay.queue()).expect("the mount point").count();
    assert_eq!(left, 0, "no new queue was begun in the empty mount point");
}

#[test]
fn lock_or_log_removed_under_the_daemon_is_a_fault_and_no_250() {
    // Without its lock a second daemon could share the queue; without the name of its log, a crash would lose what is in it.
    for name in ["lock", "queue.db-wal"] {
        let mut world = World::start();
        assert_eq!(world.send("b@example.net", 10).code, 250);
        fs::remove_file(world.relay.queue().join(name)).expect("removed");
        assert_eq!(world.send("b@example.net", 10).code, 451);
        world.expect_failure();
        // A reader may have made a new log under the name.
        world.expect_logged("queue.failed");
        world.expect_logged(&format!("queue/{name} "));
        world.spawn();
        assert_eq!(world.send("b@example.net", 10).code, 250);
        world.expect_all_delivered_once();
    }
}

#[test]
fn disk_mounted_read_only_is_refused_at_start_in_words() {
    let world = World::prepare("");
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg(
            r#"mount -t tmpfs tmpfs "$1" && chmod 700 "$1" && mount -o remount,ro "$1" && exec "$2" run --config "$3""#,
        )
        .arg("sh")
        .arg(world.relay.queue())
        .arg(crate::common::BINARY)
        .arg(world.relay.config())
        .stdout(Stdio::null())
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&status.stderr);
    assert!(status.status.code().is_some_and(|code| code != 0));
    assert!(
        said.contains("Read-only file system") && said.contains("queue/lock"),
        "{said}"
    );
}
