//! The store alone under load on the disk, so that it can be opened as the daemon never opens it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use estafette::io::store::{OpenOptions, SqliteStore, Synchronous};
use estafette::mail::queue_id::QueueId;

use crate::crash::message;
use crate::crash::random::Random;
use crate::disk::{Flushes, Survives};
use crate::machine::Machine;
use crate::store_common::{clock, read_all, settings, try_enqueue};

const PRODUCERS: usize = 8;

/// What one power cut did.
pub struct Found {
    pub acknowledged: usize,
    pub lost: usize,
}

type Acknowledged = Arc<Mutex<Vec<(QueueId, String)>>>;

/// Fills a store on a new disk, cuts the power at a random moment, and counts what is gone when it is back.
pub fn cut_once(
    image: &[u8],
    directory: &Path,
    synchronous: Synchronous,
    survives: Survives,
    random: &mut Random,
) -> Found {
    let machine = Machine::boot(image.to_vec(), Flushes::Honoured, directory);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store = open(directory, synchronous);
    let acknowledged: Acknowledged = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    for producer in 0..PRODUCERS {
        let (store, acknowledged, stop) = (store.clone(), Arc::clone(&acknowledged), Arc::clone(&stop));
        runtime.spawn(produce(store, producer, Random::new(random.next()), stop, acknowledged));
    }
    std::thread::sleep(Duration::from_millis(random.within(50..500)));
    let acknowledged = acknowledged.lock().expect("acknowledged").clone();
    let (image, _) = machine.cut(survives, random);
    stop.store(true, Ordering::Relaxed);
    runtime.shutdown_timeout(Duration::from_secs(30));
    drop(store);
    drop(machine);

    let _machine = Machine::boot(image, Flushes::Honoured, directory);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store = open(directory, synchronous);
    let is_lost = |(id, token): &&(QueueId, String)| {
        let data = runtime.block_on(read_all(&store, *id));
        data.map_or(true, |data| data != message::text(token).into_bytes())
    };
    let lost = acknowledged.iter().filter(is_lost).count();
    store.close();
    Found {
        acknowledged: acknowledged.len(),
        lost,
    }
}

fn open(directory: &Path, synchronous: Synchronous) -> SqliteStore {
    let options = OpenOptions {
        synchronous,
        ..OpenOptions::default()
    };
    SqliteStore::open_with(&settings(directory), clock, options).expect("the store opens by itself")
}

async fn produce(
    store: SqliteStore,
    producer: usize,
    mut random: Random,
    stop: Arc<AtomicBool>,
    acknowledged: Acknowledged,
) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let token = message::token(producer, number, &mut random);
        number += 1;
        match try_enqueue(&store, message::text(&token).as_bytes(), &["b@example.net"]).await {
            Ok(id) => acknowledged.lock().expect("acknowledged").push((id, token)),
            Err(_) => return,
        }
    }
}
