//! Feeds every target its seeds and variations of them: `vary FOLDER RUNS [TARGET]`, the same ones each
//! time.
//!
//! A fuzzer without instrumentation forgets its seeds; this does not, and needs no nightly toolchain. The input of a panic is
//! left in `FOLDER/TARGET.found`.

use std::fs;
use std::path::Path;

/// A generator of xorshift's kind: the variations are the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or_default() % bound.max(1)
    }

    fn vary(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut octets = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(octets.len());
            let until = (at + 1 + self.below(32)).min(octets.len());
            match self.below(6) {
                0 if !octets.is_empty() => octets[at] = u8::try_from(self.below(256)).unwrap_or_default(),
                1 if !octets.is_empty() => octets[at] ^= 1 << self.below(8),
                2 => drop(octets.drain(at.min(until)..until)),
                3 => {
                    let copy = octets[at.min(until)..until].to_vec();
                    octets.splice(at..at, copy);
                }
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    octets.truncate(at);
                    octets.extend_from_slice(&other[from.min(other.len())..]);
                }
            }
        }
        octets.truncate(16 * 1024);
        octets
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder of seeds");
    let runs: usize = arguments.next().expect("how many runs").parse().expect("a number");
    let only = arguments.next();
    for (name, target) in estafette_fuzz::TARGETS {
        if only.as_deref().is_some_and(|only| only != *name) {
            continue;
        }
        let below = Path::new(&folder).join(name);
        let mut files: Vec<_> = fs::read_dir(&below)
            .expect("seeds")
            .map(|entry| entry.expect("a file").path())
            .collect();
        files.sort();
        let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("a seed")).collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        let found = Path::new(&folder).join(format!("{name}.found"));
        // A configuration takes longer to read than anything else.
        let runs = if *name == "configuration" { runs / 4 } else { runs };
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        let variations = std::iter::repeat_with(|| dice.vary(&seeds)).take(runs);
        for input in seeds.iter().cloned().chain(variations) {
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                fs::write(&found, &input).expect("the input written");
                eprintln!("{name}: the input is {}", found.display());
                std::process::exit(1);
            }
        }
        println!("{name}: {} seeds, {runs} variations", seeds.len());
    }
}
