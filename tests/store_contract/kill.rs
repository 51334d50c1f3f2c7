//! kill -9 at any moment: what was acknowledged is there and intact.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use estafette::mail::queue_id::QueueId;
use estafette::queue::Store;

use super::common::{self, ARRIVED, done, enqueue, pattern, read_all};

const ROUNDS: u64 = 10;
const DIRECTORY: &str = "ESTAFETTE_TEST_KILL_DIRECTORY";
const SEED: &str = "ESTAFETTE_TEST_KILL_SEED";

/// One message in four has a file of its own.
fn message(seed: u64) -> Vec<u8> {
    pattern(if seed.is_multiple_of(4) { 70_000 } else { 2_000 }, seed)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // One write: a line is whole or not there.
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[test]
#[ignore = "the child of acknowledged_mail_survives_kill_9, which starts it"]
fn child_enqueues_and_settles_until_killed() {
    let directory = std::env::var(DIRECTORY).expect("started by the other test");
    let first: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = common::open(Path::new(&directory));
        for task in 0..8 {
            let store = store.clone();
            tokio::spawn(async move {
                for seed in (first + task..).step_by(8) {
                    let to = format!("a@d{}.example", seed % 3);
                    let id = enqueue(&store, &message(seed), &[&to]).await;
                    say(&format!("queued {id} {seed}"));
                }
            });
        }
        loop {
            for lease in store.due(ARRIVED, 2).await.unwrap() {
                let id = lease.id;
                say(&format!("settling {id}"));
                store.settle(lease, vec![done(0)]).await.unwrap();
                say(&format!("settled {id}"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

/// What the children said.
#[derive(Default)]
struct Said {
    queued: BTreeMap<QueueId, u64>,
    settling: BTreeSet<QueueId>,
    settled: BTreeSet<QueueId>,
}

impl Said {
    fn note(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (verb, id, seed) = (words.next(), words.next().and_then(QueueId::parse), words.next());
        match (verb, id, seed) {
            (Some("queued"), Some(id), Some(seed)) => {
                self.queued.insert(id, seed.parse().unwrap());
            }
            (Some("settling"), Some(id), None) => {
                self.settling.insert(id);
            }
            (Some("settled"), Some(id), None) => {
                self.settled.insert(id);
            }
            _ => {}
        }
    }
}

fn run_and_kill(directory: &Path, round: u64, said: &mut Said) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_enqueues_and_settles_until_killed"])
        .args(["--ignored", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(SEED, (round * 1_000_000).to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let before = said.queued.len();
    let mut deadline = None;
    for line in lines {
        said.note(&line.unwrap());
        // The clock runs from the first acknowledgement: before, there was nothing to lose.
        if said.queued.len() > before {
            let pause = Duration::from_millis(20 + random() % 230);
            let at = *deadline.get_or_insert_with(|| Instant::now() + pause);
            if Instant::now() >= at {
                child.kill().unwrap();
            }
        }
    }
    assert_eq!(child.wait().unwrap().signal(), Some(9), "the child ended by itself");
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

async fn check(directory: &Path, said: &Said) {
    let store = common::open(directory);
    let mut present = BTreeSet::new();
    let mut after = None;
    while let Some(last) = {
        let page = store.list(after, 1000).await.unwrap();
        present.extend(page.iter().map(|entry| entry.id));
        page.last().map(|entry| entry.id)
    } {
        after = Some(last);
    }
    for (id, seed) in &said.queued {
        if said.settled.contains(id) {
            assert!(!present.contains(id), "{id} was settled and is back");
        } else if !said.settling.contains(id) {
            assert!(present.contains(id), "{id} was acknowledged and is lost");
        }
        if present.contains(id) {
            assert!(
                read_all(&store, *id).await.unwrap() == message(*seed),
                "{id} is not what was queued"
            );
        }
    }
}

#[test]
fn acknowledged_mail_survives_kill_9() {
    let directory = common::directory();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut said = Said::default();
    for round in 1..=ROUNDS {
        let before = said.queued.len();
        run_and_kill(directory.path(), round, &mut said);
        assert!(said.queued.len() > before, "round {round} acknowledged nothing");
        runtime.block_on(check(directory.path(), &said));
    }
    assert!(!said.settled.is_empty());
}
