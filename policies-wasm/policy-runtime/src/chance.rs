//! Chance that follows from a key alone: the same call at the same fleet draws the same again.

use crate::state::halves;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators"): a call draws a few numbers, and
/// to begin costs nothing. A cipher's first block took 200 ns, and nobody is to be kept from guessing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn of(key: u64) -> Chance {
        Chance(key)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn next_u32(&mut self) -> u32 {
        let [_, high] = halves(self.next_u64());
        high
    }

    /// Evenly below `bound`, by multiplication with rejection (Lemire, "Fast random integer generation in an interval").
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        if bound == 0 {
            return 0;
        }
        let reject_below = bound.wrapping_neg() % bound;
        loop {
            let [low, high] = halves(u64::from(self.next_u32()) * u64::from(bound));
            if low >= reject_below {
                return high;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_draws_the_same() {
        let draw = |key| (0..4).map(|_| 0).scan(Chance::of(key), |chance, _: u64| Some(chance.next_u64())).collect();
        let (first, again, other): (Vec<u64>, Vec<u64>, Vec<u64>) = (draw(1), draw(1), draw(2));
        assert_eq!(first, again);
        assert_ne!(first, other);
    }

    #[test]
    fn every_number_below_the_bound_comes_as_often_as_the_others() {
        let mut chance = Chance::of(7);
        let mut drawn = [0_u32; 7];
        for _ in 0..70_000 {
            drawn[chance.below(7) as usize] += 1;
        }
        assert!(drawn.iter().all(|times| (9_500..10_500).contains(times)), "{drawn:?}");
        assert_eq!(chance.below(0), 0);
        assert_eq!(chance.below(1), 0);
    }
}
