//! The n-th call fails, for each n until a sequence of operations passes untouched.

use crate::common::client::Client;
use crate::common::wait_until;
use crate::world::{EIO, LARGE, World};

/// Sends a small message and a large one, each on a connection of its own, to a daemon that may refuse or be gone.
fn sequence(world: &mut World) {
    for octets in [10, LARGE] {
        let Ok(mut client) = Client::connect(world.relay.address()) else {
            return;
        };
        if client.say("EHLO printer.example.org").is_err() {
            return;
        }
        let _ = world.try_send_on(&mut client, "b@example.net", octets);
    }
}

fn whichever_call_fails(call: &str, action: &str, nth_max: usize) {
    let mut world = World::start();
    for nth in 1.. {
        world.faults(&format!("{call} * {nth} 1 {action} {EIO}"));
        sequence(&mut world);
        // What is queued comes out even though new mail may be refused.
        wait_until("what was acknowledged is delivered or waits for a restart", || {
            world.relay.queued().is_empty()
        });
        let is_untouched = world.struck().is_empty();
        world.faults("");
        // Whether it stopped by itself or is killed: the next start finds everything, and nothing twice.
        world.relay.kill();
        world.spawn();
        world.expect_all_delivered_once();
        if is_untouched {
            return;
        }
        assert!(nth < nth_max, "the sequence has an end");
    }
}

#[test]
fn whichever_fsync_fails_no_acknowledged_mail_is_lost_or_sent_twice() {
    whichever_call_fails("sync", "error", 60);
}

#[test]
fn whichever_write_is_torn_no_acknowledged_mail_is_lost_or_sent_twice() {
    whichever_call_fails("write", "tear", 120);
}

#[test]
fn whichever_file_cannot_be_made_or_renamed_no_acknowledged_mail_is_lost_or_sent_twice() {
    for call in ["create", "rename", "allocate", "unlink"] {
        whichever_call_fails(call, "error", 60);
    }
}
