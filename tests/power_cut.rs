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
use crash::load::{Acknowledged, Delivered, Load, flush};
use crash::message;
use crash::queue_check::{assert_verified, problems};
use crash::random::Random;
use disk::{Flushes, Survives};
use estafette::io::store::Synchronous;
use machine::Machine;

const CUTS: usize = 12;
const SENDERS: usize = 8;

fn survives(cut: usize) -> Survives {
    [Survives::Nothing, Survives::Some, Survives::Everything, Survives::Some][cut % 4]
}

/// The relay under load with its queue on the disk.
struct Rig {
    /// `None` only while the power is off. Unmounted before the relay's directory is removed.
    machine: Option<Machine>,
    flushes: Flushes,
    relay: Relay,
    sink: Sink,
    load: Load,
    random: Random,
    seen: Seen,
}

/// What a run went through, added up.
#[derive(Debug, Default)]
struct Seen {
    flushes: usize,
    /// Sectors in the cache when the power went.
    pending_sectors: usize,
    /// Cuts at which there was anything in the cache.
    cuts_with_pending: usize,
    /// Messages in the queue after a start.
    queued: usize,
}

impl Rig {
    fn start(seed: u64, flushes: Flushes) -> Self {
        machine::enter_private_mounts();
        let sink = Sink::start_keeping(([127, 0, 0, 1], 0).into(), message::digest);
        let mut relay = Relay::prepare("", sink.port);
        relay.write_config(&format!(
            "{LOOPBACK}message_size_limit = 1000000\nminimal_backoff_time = \"1s\"\nqueue_run_delay = \"1s\"\n{}",
            base_config(relay.port, sink.port)
        ));
        let recipients = [
            "b@example.net",
            "c@example.net",
            "later@example.net",
            "later-2@example.net",
        ];
        let load = Load::new(relay.address(), relay.directory.path().to_owned(), &recipients);
        let machine = Machine::boot(machine::formatted(), flushes, &relay.queue());
        relay.spawn();
        Self {
            machine: Some(machine),
            flushes,
            relay,
            sink,
            load,
            random: Random::new(seed),
            seen: Seen::default(),
        }
    }

    /// Cuts the power at a random moment under load, starts the machine anew, and lets the relay deliver what it has.
    /// Returns what was acknowledged before the cut and never arrives.
    fn cut(&mut self, survives: Survives) -> Vec<(String, String)> {
        // Half of the mail waits in the queue when the power goes.
        self.sink.refuse_later(true);
        let senders = self.load.start(SENDERS, &mut self.random);
        thread::sleep(Duration::from_millis(self.random.within(50..900)));
        let acknowledged = self.load.acknowledged();
        let machine = self.machine.take().expect("switched on");
        let (image, lost) = machine.cut(survives, &mut self.random);
        self.relay.kill();
        senders.stop();
        drop(machine);
        self.seen.flushes += lost.flushes;
        self.seen.pending_sectors += lost.pending_sectors;
        self.seen.cuts_with_pending += usize::from(lost.pending_sectors > 0);

        self.machine = Some(Machine::boot(image, self.flushes, &self.relay.queue()));
        self.relay.spawn();
        // What a start leaves behind, with half of the mail still waiting.
        assert!(self.relay.terminate().success(), "{}", self.relay.log_text());
        let (queued, wrong) = problems(&self.relay.queue());
        assert!(wrong.is_empty(), "{lost:?}: {wrong:?}");
        self.seen.queued += queued;
        self.relay.spawn();
        self.sink.refuse_later(false);
        flush(&self.relay);
        let mut is_empty = false;
        wait_until("all is delivered or the queue is empty", || {
            let is_done = is_empty || self.missing(&acknowledged).is_empty();
            is_empty = self.relay.queued().is_empty();
            is_done
        });
        self.missing(&acknowledged)
    }

    fn missing(&self, acknowledged: &Acknowledged) -> Vec<(String, String)> {
        self.delivered().missing(acknowledged)
    }

    fn delivered(&self) -> Delivered {
        Delivered::of(std::slice::from_ref(&self.sink))
    }
}

#[test]
fn acknowledged_messages_survive_power_cuts_under_load() {
    if !machine::is_to_run() {
        return;
    }
    let seed = Random::seed("power_cut");
    let mut rig = Rig::start(seed, Flushes::Honoured);
    for cut in 0..CUTS {
        let missing = rig.cut(survives(cut));
        let log = rig.relay.log_text();
        assert!(missing.is_empty(), "seed {seed}, cut {cut}: lost {missing:?}\n{log}");
    }
    wait_until("the queue is empty", || rig.relay.queued().is_empty());
    assert_verified(&rig.relay);
    assert!(rig.relay.terminate().success(), "{}", rig.relay.log_text());
    let (acknowledged, delivered) = (rig.load.acknowledged().len(), rig.delivered());
    eprintln!(
        "{CUTS} power cuts: {acknowledged} messages acknowledged, none lost; {} deliveries, {} of them again; {:?}",
        delivered.transactions, delivered.duplicates, rig.seen
    );
    assert!(acknowledged > 100, "the load was real: {acknowledged}");
    assert!(rig.seen.queued > 0, "something was queued when the power went");
    assert!(
        rig.seen.cuts_with_pending > 0,
        "something was in the cache when the power went"
    );
}

#[test]
fn acknowledged_messages_are_lost_when_the_disk_ignores_flushes() {
    if !machine::is_to_run() {
        return;
    }
    let seed = Random::seed("power_cut, a disk that lies");
    let mut rig = Rig::start(seed, Flushes::Ignored);
    let missing = rig.cut(Survives::Nothing);
    eprintln!(
        "1 power cut, flushes ignored: {} acknowledged recipients lost",
        missing.len()
    );
    assert!(
        !missing.is_empty(),
        "seed {seed}: the harness does not see what is lost"
    );
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
