//! Token buckets and counters by name, in whole numbers so that nothing is lost to rounding.

use std::collections::HashMap;

/// A level is kept in sixty-thousandths of a token: one millisecond at one token a minute.
const PARTS_PER_TOKEN: u64 = 60_000;

/// No more often than this are idle buckets looked for when there is no room.
const SWEEP_EVERY_MS: u64 = 1000;

/// Token buckets and counters of one slot.
#[derive(Debug)]
pub(crate) struct Buckets {
    buckets: HashMap<String, Bucket>,
    counters: HashMap<String, u64>,
    /// Places taken by name; a name of which none is taken is not there.
    places: HashMap<String, u32>,
    entries_max: usize,
    swept_ms: Option<u64>,
}

/// One token bucket. Small enough to be copied while it is worked on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// What a full bucket holds.
    pub tokens_max: u32,
    /// What flows in.
    pub tokens_per_minute: u32,
    parts_now: u64,
    /// What was charged though it was not there. What flows in pays this first; at most one full bucket.
    parts_owed: u64,
    filled_ms: u64,
}

/// What became of an attempt to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taking {
    /// Taken; so much is left.
    Taken(u32),
    /// Not taken; so long until there is enough.
    WaitMs(u32),
    /// Not taken; more than the bucket can ever give.
    Never,
}

/// There is no room for another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Buckets {
    pub(crate) fn new(entries_max: usize) -> Buckets {
        Buckets {
            buckets: HashMap::new(),
            counters: HashMap::new(),
            places: HashMap::new(),
            entries_max,
            swept_ms: None,
        }
    }

    /// Takes `tokens` of the bucket `name`, all or nothing. A bucket that is not there yet is full; one of another
    /// shape keeps its level as far as it fits.
    pub(crate) fn take(&mut self, now_ms: u64, name: &str, shape: Bucket, tokens: u32) -> Result<Taking, Full> {
        if !self.buckets.contains_key(name) {
            self.make_room(now_ms)?;
            self.buckets.insert(name.to_owned(), Bucket { filled_ms: now_ms, ..shape.full() });
        }
        let bucket = self.buckets.get_mut(name).expect("it was there or has just been inserted");
        bucket.fill(now_ms);
        bucket.reshape(shape);
        Ok(bucket.take(tokens))
    }

    /// Gives back what was taken too much; more than full is lost.
    pub(crate) fn give_back(&mut self, name: &str, tokens: u32) {
        if let Some(bucket) = self.buckets.get_mut(name) {
            bucket.pay_in(u64::from(tokens) * PARTS_PER_TOKEN);
        }
    }

    /// Takes `tokens` whether or not they are there; what is not there is owed.
    pub(crate) fn charge(&mut self, now_ms: u64, name: &str, tokens: u32) {
        if let Some(bucket) = self.buckets.get_mut(name) {
            bucket.fill(now_ms);
            let parts = u64::from(tokens) * PARTS_PER_TOKEN;
            let paid = parts.min(bucket.parts_now);
            bucket.parts_now -= paid;
            bucket.parts_owed = (bucket.parts_owed + (parts - paid)).min(bucket.parts_max());
        }
    }

    /// Takes one of `places` by this name; false when all are taken.
    pub(crate) fn take_place(&mut self, now_ms: u64, name: &str, places: u32) -> Result<bool, Full> {
        if let Some(taken) = self.places.get_mut(name) {
            let is_free = *taken < places;
            *taken += u32::from(is_free);
            return Ok(is_free);
        }
        if places == 0 {
            return Ok(false);
        }
        self.make_room(now_ms)?;
        self.places.insert(name.to_owned(), 1);
        Ok(true)
    }

    /// Gives one place back.
    pub(crate) fn give_place_back(&mut self, name: &str) {
        if let Some(taken) = self.places.get_mut(name) {
            *taken -= 1;
            if *taken == 0 {
                self.places.remove(name);
            }
        }
    }

    /// Places by this name that are taken.
    pub(crate) fn places_taken(&self, name: &str) -> u32 {
        self.places.get(name).copied().unwrap_or_default()
    }

    /// Whole tokens in the bucket now.
    pub(crate) fn level(&mut self, now_ms: u64, name: &str) -> Option<u32> {
        let bucket = self.buckets.get_mut(name)?;
        bucket.fill(now_ms);
        Some(bucket.tokens_now())
    }

    /// Adds to a counter and returns what it was before.
    pub(crate) fn count(&mut self, now_ms: u64, name: &str, delta: u64) -> Result<u64, Full> {
        if let Some(counter) = self.counters.get_mut(name) {
            let before = *counter;
            *counter = counter.wrapping_add(delta);
            return Ok(before);
        }
        self.make_room(now_ms)?;
        self.counters.insert(name.to_owned(), delta);
        Ok(0)
    }

    /// Buckets and counters there are.
    pub(crate) fn entries_now(&self) -> usize {
        self.buckets.len() + self.counters.len() + self.places.len()
    }

    /// A full bucket says no more than an absent one, so full ones make room for others.
    fn make_room(&mut self, now_ms: u64) -> Result<(), Full> {
        if self.entries_now() < self.entries_max {
            return Ok(());
        }
        if self.swept_ms.is_some_and(|swept_ms| now_ms.saturating_sub(swept_ms) < SWEEP_EVERY_MS) {
            return Err(Full);
        }
        self.swept_ms = Some(now_ms);
        self.buckets.retain(|_, bucket| {
            bucket.fill(now_ms);
            bucket.parts_now < bucket.parts_max() || bucket.parts_owed > 0
        });
        if self.entries_now() < self.entries_max { Ok(()) } else { Err(Full) }
    }
}

impl Bucket {
    /// A shape to take with; its level is not looked at.
    pub(crate) fn shape(tokens_max: u32, tokens_per_minute: u32) -> Bucket {
        Bucket { tokens_max, tokens_per_minute, parts_now: 0, parts_owed: 0, filled_ms: 0 }
    }

    fn full(self) -> Bucket {
        Bucket { parts_now: self.parts_max(), ..self }
    }

    fn parts_max(&self) -> u64 {
        u64::from(self.tokens_max) * PARTS_PER_TOKEN
    }

    fn tokens_now(&self) -> u32 {
        u32::try_from(self.parts_now / PARTS_PER_TOKEN).expect("no more than tokens_max, a u32")
    }

    /// Time that runs backwards (another caller was faster) fills nothing.
    fn fill(&mut self, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = self.filled_ms.max(now_ms);
        let inflow = elapsed_ms.saturating_mul(u64::from(self.tokens_per_minute));
        self.pay_in(inflow);
    }

    /// Debts first.
    fn pay_in(&mut self, parts: u64) {
        let paid = parts.min(self.parts_owed);
        self.parts_owed -= paid;
        self.parts_now = self.parts_now.saturating_add(parts - paid).min(self.parts_max());
    }

    fn reshape(&mut self, shape: Bucket) {
        self.tokens_max = shape.tokens_max;
        self.tokens_per_minute = shape.tokens_per_minute;
        self.parts_now = self.parts_now.min(self.parts_max());
    }

    fn take(&mut self, tokens: u32) -> Taking {
        let wanted = u64::from(tokens) * PARTS_PER_TOKEN;
        if wanted <= self.parts_now {
            self.parts_now -= wanted;
            return Taking::Taken(self.tokens_now());
        }
        if wanted > self.parts_max() || self.tokens_per_minute == 0 {
            return Taking::Never;
        }
        let wait_ms = (wanted - self.parts_now).div_ceil(u64::from(self.tokens_per_minute));
        Taking::WaitMs(u32::try_from(wait_ms).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(takes: &[(u64, u32)], expected: &[Taking]) {
        let mut buckets = Buckets::new(8);
        let shape = Bucket::shape(10, 60);
        let found: Vec<Taking> =
            takes.iter().map(|(now_ms, tokens)| buckets.take(*now_ms, "b", shape, *tokens).unwrap()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_new_bucket_is_full() {
        check(&[(5, 10), (5, 1)], &[Taking::Taken(0), Taking::WaitMs(1000)]);
    }

    #[test]
    fn it_fills_with_time_and_no_further_than_full() {
        check(
            &[(0, 10), (2500, 2), (2500, 1), (100_000, 10)],
            &[Taking::Taken(0), Taking::Taken(0), Taking::WaitMs(500), Taking::Taken(0)],
        );
    }

    #[test]
    fn more_than_it_can_hold_is_never_given() {
        check(&[(0, 11)], &[Taking::Never]);
    }

    #[test]
    fn time_that_runs_backwards_fills_nothing() {
        check(&[(1000, 10), (0, 1), (1000, 1)], &[Taking::Taken(0), Taking::WaitMs(1000), Taking::WaitMs(1000)]);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut buckets = Buckets::new(8);
        let shape = Bucket::shape(10, 0);
        assert_eq!(buckets.take(0, "b", shape, 10), Ok(Taking::Taken(0)));
        buckets.give_back("b", 4);
        assert_eq!(buckets.level(0, "b"), Some(4));
        assert_eq!(buckets.take(0, "b", shape, 5), Ok(Taking::Never));
    }

    #[test]
    fn a_full_bucket_makes_room_and_a_used_one_does_not() {
        let mut buckets = Buckets::new(2);
        let shape = Bucket::shape(10, 600);
        buckets.take(0, "slow", Bucket::shape(10, 1), 10).unwrap();
        buckets.take(0, "fast", shape, 1).unwrap();
        assert_eq!(buckets.take(50, "third", shape, 1), Err(Full), "fast is not full again before 100 ms");
        assert_eq!(buckets.take(500, "third", shape, 1), Err(Full), "it is, but was looked for a moment ago");
        assert_eq!(buckets.take(1050, "third", shape, 1), Ok(Taking::Taken(9)));
        assert_eq!(buckets.level(1050, "slow"), Some(0));
    }

    proptest! {
        #[test]
        fn no_more_is_ever_taken_than_a_full_bucket_and_its_inflow(
            takes in proptest::collection::vec((0_u64..5000, 0_u32..20), 1..50),
            per_minute in 0_u32..5000,
        ) {
            let mut buckets = Buckets::new(1);
            let (mut now_ms, mut taken) = (0, 0_u64);
            for (step_ms, tokens) in takes {
                now_ms += step_ms;
                if let Ok(Taking::Taken(_)) = buckets.take(now_ms, "b", Bucket::shape(15, per_minute), tokens) {
                    taken += u64::from(tokens);
                }
                prop_assert!(taken <= 15 + now_ms * u64::from(per_minute) / 60_000);
            }
        }

        #[test]
        fn the_wait_it_names_is_long_enough_and_no_longer(spent in 0_u32..15, wanted in 1_u32..15, per_minute in 1_u32..5000) {
            let shape = Bucket::shape(15, per_minute);
            let mut buckets = Buckets::new(1);
            buckets.take(0, "b", shape, spent).unwrap();
            if let Taking::WaitMs(wait_ms) = buckets.take(0, "b", shape, wanted).unwrap() {
                let early = buckets.take(u64::from(wait_ms) - 1, "b", shape, wanted).unwrap();
                prop_assert!(matches!(early, Taking::WaitMs(1)));
                let in_time = buckets.take(u64::from(wait_ms), "b", shape, wanted).unwrap();
                prop_assert!(matches!(in_time, Taking::Taken(_)));
            }
        }
    }
}
