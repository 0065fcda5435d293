//! How often a replica is looked at: as configured, less often where replicas are many, slow or ill, and never in step.

use std::time::Duration;

use rand::Rng;

use crate::config::Limits;

/// A replica that was slow to answer is left alone for so many times as long.
const SLOW_TIMES: u32 = 4;
/// One that is ill is looked at at least so often, unless less is configured: it takes work again as soon as it is well.
const ILL_MAX: Duration = Duration::from_millis(500);
/// Parts of the pause by which it is made longer or shorter.
const JITTER: f64 = 0.1;

/// The pause until the next look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    failures_in_row: u32,
    took: Duration,
}

impl Pace {
    pub fn went_well(&mut self, took: Duration) {
        *self = Pace { failures_in_row: 0, took };
    }

    pub fn went_ill(&mut self) {
        *self = Pace { failures_in_row: self.failures_in_row.saturating_add(1), took: Duration::ZERO };
    }

    /// Without chance.
    fn pause(&self, limits: &Limits, replicas: usize) -> Duration {
        let least = least(limits, replicas);
        let doubled = 1 << self.failures_in_row.saturating_sub(limits.unhealthy_after).min(8);
        let ill = (least * doubled).min(ILL_MAX);
        let slow = (self.took * SLOW_TIMES).min(Duration::from_millis(limits.poll_ms_max));
        least.max(ill).max(if self.took > least / 2 { slow } else { Duration::ZERO })
    }

    /// With chance: replicas that were found together are not looked at together for ever.
    pub fn next(&self, limits: &Limits, replicas: usize) -> Duration {
        self.pause(limits, replicas).mul_f64(1.0 + rand::rng().random_range(-JITTER..JITTER))
    }
}

/// Before the first look: where many join at once, they are not all looked at in the same moment.
pub(super) fn stagger(limits: &Limits, replicas: usize) -> Duration {
    let spread = least(limits, replicas).saturating_sub(Duration::from_millis(limits.poll_interval_ms));
    spread.mul_f64(rand::rng().random_range(0.0..1.0))
}

/// The pause of a replica that is well and quick.
pub(super) fn least(limits: &Limits, replicas: usize) -> Duration {
    let shared = Duration::from_secs(1).mul_f64(replicas as f64 / f64::from(limits.looks_per_second_max));
    Duration::from_millis(limits.poll_interval_ms).max(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failures_in_row: u32, took_ms: u64, replicas: usize, expected_ms: u64) {
        let pace = Pace { failures_in_row, took: Duration::from_millis(took_ms) };
        assert_eq!(pace.pause(&Limits::default(), replicas), Duration::from_millis(expected_ms));
    }

    #[test]
    fn it_is_as_configured_for_few_that_are_quick() {
        check(0, 0, 1, 100);
        check(0, 50, 200, 100);
    }

    #[test]
    fn many_are_looked_at_less_often() {
        check(0, 0, 4000, 2000);
    }

    #[test]
    fn one_that_is_slow_is_left_alone_for_longer() {
        check(0, 60, 1, 240);
        check(0, 900, 1, 1000);
    }

    #[test]
    fn one_that_is_ill_is_left_alone_for_longer_but_not_for_long() {
        check(1, 0, 1, 100);
        check(3, 0, 1, 200);
        check(4, 0, 1, 400);
        check(9, 0, 1, 500);
        check(u32::MAX, 0, 1, 500);
    }
}
