//! Small random delays from a seed: the same seed gives the same run, in the simulator and here.

/// A generator of numbers that only have to be spread out, not secret (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// Starts from `seed`; any value will do.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which is not zero. The slight preference for small numbers does not matter here.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_same_seed_same_numbers_within_bound() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        let mut seen = [false; 10];
        for _ in 0..200 {
            let number = a.below(10);
            assert_eq!(number, b.below(10));
            seen[usize::try_from(number).unwrap()] = true;
        }
        assert_eq!(seen, [true; 10], "every value below the bound comes up");
    }
}
