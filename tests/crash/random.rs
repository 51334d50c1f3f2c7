//! Random numbers that a seed repeats: what a failing run did can be done again.

/// Marsaglia's xorshift64*.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Zero is the one state that xorshift never leaves; near seeds shall not begin alike.
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    /// The seed that the environment variable `ESTAFETTE_TEST_SEED` names, else one of the clock; told on stderr.
    pub fn seed(test: &str) -> u64 {
        let told = std::env::var("ESTAFETTE_TEST_SEED").ok();
        let seed = told.map_or_else(
            || {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.expect("after 1970").subsec_nanos().into()
            },
            |text| text.parse().expect("ESTAFETTE_TEST_SEED is a number"),
        );
        eprintln!("{test}: repeat with ESTAFETTE_TEST_SEED={seed}");
        seed
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number in a range; its end is not in it.
    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }
}
