//! Bounds what tries after the first may add to the load of a fleet that fails: a share of the requests, and a few a second.

/// How many tries after the first there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryRules {
    /// Of the requests.
    pub percent_max: u32,
    /// However few requests there are.
    pub per_second_least: u32,
}

/// One try; a request or a millisecond bring parts of it.
const WHOLE: u64 = 100_000;

/// Tries that requests may save up.
const SAVED_TRIES_MAX: u64 = 100;

/// What may still be spent.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    rules: RetryRules,
    /// Saved by requests, in hundred-thousandths of a try.
    saved: u64,
    /// Saved by time.
    floor: u64,
    at_ms: u64,
}

impl RetryBudget {
    /// With the floor full, and nothing saved by requests.
    pub fn new(rules: RetryRules, now_ms: u64) -> RetryBudget {
        let floor = u64::from(rules.per_second_least) * WHOLE;
        RetryBudget { rules, saved: 0, floor, at_ms: now_ms }
    }

    /// Counts requests.
    pub fn requests(&mut self, count: u64) {
        let share = u64::from(self.rules.percent_max) * (WHOLE / 100);
        self.saved = self.saved.saturating_add(share.saturating_mul(count)).min(SAVED_TRIES_MAX * WHOLE);
    }

    /// Takes one try, if there is one.
    pub fn take(&mut self, now_ms: u64) -> bool {
        let rate = u64::from(self.rules.per_second_least);
        let gained = now_ms.saturating_sub(self.at_ms).saturating_mul(rate).saturating_mul(WHOLE / 1000);
        self.floor = self.floor.saturating_add(gained).min(rate * WHOLE);
        self.at_ms = self.at_ms.max(now_ms);
        let purse = if self.floor >= WHOLE { &mut self.floor } else { &mut self.saved };
        match purse.checked_sub(WHOLE) {
            Some(left) => {
                *purse = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(budget: &mut RetryBudget, now_ms: u64) -> u32 {
        (0..1000).take_while(|_| budget.take(now_ms)).count() as u32
    }

    #[test]
    fn a_share_of_the_requests_may_be_tried_again() {
        let mut budget = RetryBudget::new(RetryRules { percent_max: 20, per_second_least: 0 }, 0);
        budget.requests(50);
        assert_eq!(taken(&mut budget, 0), 10);
    }

    #[test]
    fn a_few_a_second_may_whatever_there_is() {
        let mut budget = RetryBudget::new(RetryRules { percent_max: 0, per_second_least: 3 }, 0);
        assert_eq!(taken(&mut budget, 0), 3);
        assert_eq!(taken(&mut budget, 1000), 3);
        assert_eq!(taken(&mut budget, 1334), 1);
        assert_eq!(taken(&mut budget, 60_000), 3);
    }

    proptest! {
        /// Tries stay within the share and the least rate, in whatever order things happen.
        #[test]
        fn tries_are_bounded(acts in proptest::collection::vec((0..3_u8, 0..500_u64), 0..300), percent in 0..60_u32, least in 0..5_u32) {
            let mut budget = RetryBudget::new(RetryRules { percent_max: percent, per_second_least: least }, 0);
            let (mut now_ms, mut requests, mut tries) = (0, 0_u64, 0_u64);
            for (act, wait_ms) in acts {
                match act {
                    0 => {
                        budget.requests(1);
                        requests += 1;
                    }
                    1 => tries += u64::from(budget.take(now_ms)),
                    _ => now_ms += wait_ms,
                }
            }
            let most = requests * u64::from(percent) / 100 + u64::from(least) * (now_ms / 1000 + 2);
            prop_assert!(tries <= most, "{tries} of {most}");
        }
    }
}
