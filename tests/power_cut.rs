//! The power is cut under load: what was acknowledged is delivered, whole, after the machine is back.
//!
//! The queue lies on ext4 on a disk with a volatile write cache (`power_cut/disk.rs`). The negative control does the same
//! to a store that does not sync its commits, and must see it lose mail: else the disk would prove nothing.

mod common;
#[path = "crash/mod.rs"]
mod crash;
#[path = "power_cut/disk.rs"]
mod disk;
#[path = "power_cut/machine.rs"]
mod machine;
#[allow(dead_code, reason = "the contract suite uses the rest")]
#[path = "store_contract/common.rs"]
mod store_common;
#[path = "power_cut/store_load.rs"]
mod store_load;

use std::thread;
use std::time::Duration;

use common::sink::Sink;
use common::{LOOPBACK, Relay, base_config, wait_until};
use crash::load::{Delivered, Load, flush};
use crash::message;
use crash::queue_check::{assert_verified, problems};
use crash::random::Random;
use disk::Survives;
use estafette::io::store::Synchronous;
use machine::Machine;

const CUTS: usize = 12;
const SENDERS: usize = 8;

fn survives(cut: usize) -> Survives {
    [Survives::Nothing, Survives::Some, Survives::Everything, Survives::Some][cut % 4]
}

fn config(relay: &Relay, next_hop: u16) -> String {
    format!(
        "{LOOPBACK}message_size_limit = 1000000\nminimal_backoff_time = \"1s\"\nqueue_run_delay = \"1s\"\n{}",
        base_config(relay.port, next_hop)
    )
}

#[test]
fn acknowledged_messages_survive_power_cuts_under_load() {
    if !machine::is_to_run() {
        return;
    }
    let seed = Random::seed("power_cut");
    let mut random = Random::new(seed);
    machine::enter_private_mounts();
    let sink = Sink::start_keeping(([127, 0, 0, 1], 0).into(), message::digest);
    let mut relay = Relay::prepare("", sink.port);
    relay.write_config(&config(&relay, sink.port));
    let recipients = [
        "b@example.net",
        "c@example.net",
        "later@example.net",
        "later-2@example.net",
    ];
    let load = Load::new(relay.address(), relay.directory.path().to_owned(), &recipients);

    let mut machine = Machine::boot(machine::formatted(), &relay.queue());
    relay.spawn();
    let (mut flushes, mut pending, mut checked) = (0, 0, 0);
    for cut in 0..CUTS {
        // Half of the mail waits in the queue when the power goes.
        sink.refuse_later(true);
        let senders = load.start(SENDERS, &mut random);
        thread::sleep(Duration::from_millis(random.within(50..900)));
        let acknowledged = load.acknowledged();
        let (image, lost) = machine.cut(survives(cut), &mut random);
        relay.kill();
        senders.stop();
        drop(machine);
        flushes += lost.flushes;
        pending += lost.pending_sectors;

        machine = Machine::boot(image, &relay.queue());
        relay.spawn();
        // What a start leaves behind, with half of the mail still waiting.
        assert!(relay.terminate().success(), "{}", relay.log_text());
        let (count, wrong) = problems(&relay.queue());
        assert!(wrong.is_empty(), "seed {seed}, cut {cut}, {lost:?}: {wrong:?}");
        checked += count;
        relay.spawn();
        sink.refuse_later(false);
        flush(&relay);
        let missing = || Delivered::of(std::slice::from_ref(&sink)).missing(&acknowledged, |_| true);
        for _ in 0..150 {
            if missing().is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(200));
        }
        let missing = missing();
        let log = relay.log_text();
        assert!(
            missing.is_empty(),
            "seed {seed}, cut {cut}, {lost:?}: lost {missing:?}\n{log}"
        );
    }
    wait_until("the queue is empty", || relay.queued().is_empty());
    assert_verified(&relay);
    assert!(relay.terminate().success(), "{}", relay.log_text());
    let acknowledged = load.acknowledged().len();
    let delivered = Delivered::of(std::slice::from_ref(&sink));
    eprintln!(
        "{CUTS} power cuts: {acknowledged} acknowledged, {} delivered, {} of them again, {flushes} flushes, {pending} \
         sectors in the cache when the power went, {checked} queued messages looked at",
        delivered.transactions, delivered.duplicates
    );
    assert!(acknowledged > 100, "the load was real: {acknowledged}");
    assert!(checked > 0, "something was queued when the power went");
    assert!(flushes > CUTS, "the disk was flushed: {flushes}");
}

#[test]
fn acknowledged_messages_are_lost_in_power_cuts_when_commits_are_not_synced() {
    if !machine::is_to_run() {
        return;
    }
    let seed = Random::seed("power_cut, negative control");
    machine::enter_private_mounts();
    let image = machine::formatted();
    let directory = tempfile::tempdir().expect("a directory");
    let lose = |synchronous| {
        let mut random = Random::new(seed);
        let (mut acknowledged, mut lost) = (0, 0);
        for cut in 0..CUTS {
            let found = store_load::cut_once(&image, directory.path(), synchronous, survives(cut), &mut random);
            acknowledged += found.acknowledged;
            lost += found.lost;
        }
        eprintln!("{CUTS} power cuts, {synchronous:?}: {acknowledged} acknowledged, {lost} lost");
        (acknowledged, lost)
    };
    let (_, lost) = lose(Synchronous::Normal);
    assert!(lost > 0, "seed {seed}: the disk loses nothing, so it proves nothing");
    let (acknowledged, lost) = lose(Synchronous::Full);
    assert!(acknowledged > 100, "the load was real: {acknowledged}");
    assert_eq!(
        lost, 0,
        "seed {seed}: the same store, every commit synced, loses nothing"
    );
}
