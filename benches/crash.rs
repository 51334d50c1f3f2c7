//! The long run of the kill -9 test: `cargo bench --bench crash` kills the daemon 200 times under load, or as many times
//! as `ESTAFETTE_KILLS` says. What must hold is what tests/crash.rs demands of 25 kills.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/crash/mod.rs"]
mod crash;

use crash::kills;
use crash::random::Random;

const KILLS: usize = 200;

fn main() {
    // `cargo test --all-targets` starts this too; the long run is for those who ask for it.
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("crash: the long run is started by cargo bench --bench crash");
        return;
    }
    let kills =
        std::env::var("ESTAFETTE_KILLS").map_or(KILLS, |text| text.parse().expect("ESTAFETTE_KILLS is a number"));
    let outcome = kills::run(kills, Random::seed("crash"));
    outcome.check();
    println!("{outcome}");
}
