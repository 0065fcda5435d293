//! Says when a request that waits for its answer is sent a second time, to another replica: when it has waited longer
//! than nearly all do, and not more than a share are.

use crate::{RetryBudget, RetryRules, Times, TimesNow};

/// How much is hedged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeRules {
    /// Of the requests; 0 is none.
    pub percent_max: u32,
    /// No request is hedged sooner.
    pub ms_least: u64,
}

/// Answers that must have been seen before any request is hedged, and after how many the delay is reckoned anew.
const ANSWERS_LEAST: u64 = 20;
const ANSWERS_PER_DELAY: u64 = 64;
/// The share of the answers that begin sooner than a request is hedged.
const QUANTILE: f64 = 0.95;

/// What is known of the answers so far.
#[derive(Debug)]
pub struct Hedges {
    rules: HedgeRules,
    budget: RetryBudget,
    times: Times,
    /// The times that are too old to count.
    old: TimesNow,
    answers: u64,
    delay_us: Option<u64>,
}

impl Hedges {
    /// Nothing seen yet.
    pub fn new(rules: HedgeRules) -> Hedges {
        let budget = RetryBudget::new(RetryRules { percent_max: rules.percent_max, per_second_least: 0 }, 0);
        Hedges { rules, budget, times: Times::default(), old: TimesNow::default(), answers: 0, delay_us: None }
    }

    /// Counts a request; after how many microseconds without an answer it may be hedged.
    pub fn request(&mut self) -> Option<u64> {
        self.budget.requests(1);
        self.delay_us
    }

    /// Counts the time from sending a request to its answer's first byte.
    pub fn answered(&mut self, us: u64) {
        if self.rules.percent_max == 0 {
            return;
        }
        self.times.count(us.saturating_mul(1000));
        self.answers += 1;
        let is_due = self.answers == ANSWERS_LEAST || self.answers.is_multiple_of(ANSWERS_PER_DELAY);
        if is_due {
            let now = self.times.now();
            let recent = now.since(&self.old);
            let delay_us = recent.quantile_us(QUANTILE).map(|us| us as u64);
            self.delay_us = delay_us.map(|us| us.max(self.rules.ms_least * 1000));
            if self.answers.is_multiple_of(8 * ANSWERS_PER_DELAY) {
                self.old = now;
            }
        }
    }

    /// Whether there is budget for a second sending; takes it.
    pub fn take(&mut self) -> bool {
        self.budget.take(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(rules: HedgeRules, answers: u64, us: u64) -> Hedges {
        let mut hedges = Hedges::new(rules);
        (0..answers).for_each(|number| hedges.answered(if number % 50 == 49 { us * 100 } else { us }));
        hedges
    }

    #[test]
    fn nothing_is_hedged_unless_asked_for_or_before_enough_is_known() {
        assert_eq!(seen(HedgeRules { percent_max: 0, ms_least: 0 }, 1000, 10).request(), None);
        assert_eq!(seen(HedgeRules { percent_max: 5, ms_least: 0 }, ANSWERS_LEAST - 1, 10).request(), None);
    }

    #[test]
    fn a_request_is_hedged_when_it_has_waited_longer_than_nearly_all() {
        let delay_us =
            seen(HedgeRules { percent_max: 5, ms_least: 0 }, 640, 10_000).request().expect("enough is known");
        assert!((9_000..12_000).contains(&delay_us), "{delay_us}");
        assert_eq!(seen(HedgeRules { percent_max: 5, ms_least: 50 }, 640, 10_000).request(), Some(50_000));
    }

    #[test]
    fn no_more_than_a_share_is_hedged() {
        let mut hedges = Hedges::new(HedgeRules { percent_max: 5, ms_least: 0 });
        for _ in 0..100 {
            hedges.request();
        }
        assert_eq!((0..20).filter(|_| hedges.take()).count(), 5);
    }
}
