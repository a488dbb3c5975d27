//! Random numbers for the draw: small, fast, and the same on every machine for ever.
//!
//! A counter passed through the SplitMix64 finalizer (Steele, Lea and Flood, 2014). The seed
//! is mixed once before it becomes the counter, so that neighbouring seeds, which callers
//! like to use, start far apart. Not for secrets.

/// The odd constant nearest to 2^64 divided by the golden ratio: the counter's step.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of numbers fixed by its seed.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    counter: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            counter: mix(seed ^ STEP),
        }
    }

    fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(STEP);
        mix(self.counter)
    }

    /// Uniform in `[0, 1)`, all 53 bits of it random.
    pub(crate) fn unit(&mut self) -> f64 {
        unit_of(self.next())
    }

    /// A number beside the next one of [`Random::unit`], as uniform; none is taken from the stream for it.
    ///
    /// It is the one of half the period later, where no stream ever comes.
    pub(crate) fn beside_next(&self) -> f64 {
        let next = self.counter.wrapping_add(STEP);
        unit_of(mix(next ^ (1 << 63)))
    }
}

/// The upper 53 bits, as a number in `[0, 1)`.
fn unit_of(bits: u64) -> f64 {
    const SCALE: f64 = 1.0 / (1_u64 << 53) as f64;
    (bits >> 11) as f64 * SCALE
}

/// A bijection of 64 bits in which every input bit moves about half of the output bits.
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drawn tokens are a promise to callers who keep seeds: the stream must never change.
    #[test]
    fn the_stream_of_a_seed_is_fixed() {
        let mut random = Random::new(42);
        let drawn: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(drawn, PINNED);
    }

    /// From the formula above, worked out apart from this code.
    const PINNED: [u64; 3] = [
        6_332_618_229_526_065_668,
        17_630_415_256_238_047_317,
        8_971_565_426_155_258_802,
    ];

    /// SplitMix64 as published, from a counter that starts at 1234567.
    #[test]
    fn mixing_agrees_with_the_published_generator() {
        let mut random = Random { counter: 1_234_567 };
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn units_stay_in_range_and_spread() {
        let mut random = Random::new(0);
        let mut tenths = [0_u32; 10];
        for _ in 0..100_000 {
            let unit = random.unit();
            assert!((0.0..1.0).contains(&unit));
            tenths[(unit * 10.0) as usize] += 1;
        }
        // Standard deviation of a tenth is 95: this allows six of them.
        assert!(
            tenths.iter().all(|&count| count.abs_diff(10_000) < 570),
            "{tenths:?}"
        );
    }

    /// Of one stream, the numbers beside are another one: no draw tells of its own.
    #[test]
    fn numbers_beside_are_uniform_and_tell_nothing_of_the_next_ones() {
        let mut random = Random::new(7);
        let mut counts = [[0_u32; 4]; 4];
        for _ in 0..160_000 {
            let beside = random.beside_next();
            assert_eq!(beside, random.beside_next());
            let next = random.unit();
            counts[(beside * 4.0) as usize][(next * 4.0) as usize] += 1;
        }
        // Standard deviation of a cell is 97: this allows six of them.
        let mut cells = counts.iter().flatten();
        assert!(
            cells.all(|count| count.abs_diff(10_000) < 582),
            "{counts:?}"
        );
        let taken = |look: bool| {
            let mut random = Random::new(7);
            let numbers = (0..9).map(|_| {
                if look {
                    random.beside_next();
                }
                random.next()
            });
            numbers.collect::<Vec<u64>>()
        };
        assert_eq!(taken(true), taken(false));
    }

    #[test]
    fn neighbouring_seeds_differ_at_once() {
        let firsts: std::collections::HashSet<u64> =
            (0..1000).map(|seed| Random::new(seed).next()).collect();
        assert_eq!(firsts.len(), 1000);
    }
}
