//! kill -9 in the middle of concurrent load: what was acknowledged is delivered, whole, and at most once for each
//! connection that is not cut. The long run is `cargo bench --bench crash`.

mod common;
#[path = "crash/mod.rs"]
mod crash;

use crash::kills;
use crash::random::Random;

const KILLS: usize = 25;

#[test]
fn acknowledged_messages_survive_kill_9_in_the_middle_of_load() {
    let outcome = kills::run(KILLS, Random::seed("crash"));
    eprintln!("{outcome}");
    outcome.check();
}
