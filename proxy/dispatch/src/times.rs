//! How long calls took: counts by powers of two, eight steps each, so that a time is known to within an eighth.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Steps of one power of two, as bits.
const STEP_BITS: u32 = 3;
const STEPS: u64 = 1 << STEP_BITS;
/// Nanoseconds up to about 17 s; longer calls count as that long.
const NS_BITS_MAX: u32 = 34;
const BUCKETS: usize = ((NS_BITS_MAX - STEP_BITS + 1) as usize) << STEP_BITS;

/// Counted from many threads without a lock.
#[derive(Debug)]
pub struct Times(Box<[AtomicU64]>);

/// The counts at one moment; none where nothing was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimesNow(Vec<u64>);

impl Default for Times {
    fn default() -> Times {
        Times((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Times {
    /// Counts one call.
    pub fn count(&self, ns: u64) {
        self.0[bucket_of(ns)].fetch_add(1, Relaxed);
    }

    /// The counts now.
    pub fn now(&self) -> TimesNow {
        TimesNow(self.0.iter().map(|count| count.load(Relaxed)).collect())
    }
}

impl TimesNow {
    /// What was counted since an earlier moment.
    pub fn since(&self, earlier: &TimesNow) -> TimesNow {
        let before = |bucket| earlier.0.get(bucket).copied().unwrap_or(0);
        TimesNow(self.0.iter().enumerate().map(|(bucket, count)| count.saturating_sub(before(bucket))).collect())
    }

    /// The time in microseconds that this share of the calls stayed within, from 0 to 1; none before the first call.
    pub fn quantile_us(&self, share: f64) -> Option<f64> {
        let calls: u64 = self.0.iter().sum();
        let wanted = ((calls as f64 * share).ceil() as u64).clamp(1, calls.max(1));
        let mut seen = 0;
        let bucket = self.0.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some((first_of(bucket) + first_of(bucket + 1)) as f64 / 2.0 / 1e3)
    }

    /// How many calls took longer than so many microseconds, to within a step.
    pub fn over_us(&self, us: u32) -> u64 {
        let last = bucket_of(u64::from(us) * 1000);
        self.0.iter().skip(last + 1).sum()
    }
}

fn bucket_of(ns: u64) -> usize {
    let ns = ns.min((1 << NS_BITS_MAX) - 1);
    if ns < STEPS {
        return ns as usize;
    }
    let power = ns.ilog2();
    let step = (ns >> (power - STEP_BITS)) & (STEPS - 1);
    (((power - STEP_BITS + 1) as usize) << STEP_BITS) + step as usize
}

/// The least time of a bucket.
fn first_of(bucket: usize) -> u64 {
    let (row, step) = ((bucket >> STEP_BITS) as u32, bucket as u64 & (STEPS - 1));
    match row {
        0 => step,
        row => (STEPS + step) << (row - 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_in_its_bucket(ns in 0..1_u64 << NS_BITS_MAX) {
            let bucket = bucket_of(ns);
            prop_assert!(bucket < BUCKETS && first_of(bucket) <= ns && ns < first_of(bucket + 1));
        }

        #[test]
        fn a_quantile_is_near_the_true_one(mut us in prop::collection::vec(1..100_000_u64, 1..200), share in 0.01..1.0_f64) {
            let times = Times::default();
            us.iter().for_each(|us| times.count(us * 1000));
            us.sort_unstable();
            let exact = us[((us.len() as f64 * share).ceil() as usize).clamp(1, us.len()) - 1] as f64;
            let found = times.now().quantile_us(share).expect("there are calls");
            prop_assert!((found - exact).abs() <= exact / 8.0 + 0.001, "{found} for {exact}");
        }
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Times::default().now().quantile_us(0.5), None);
        assert_eq!(TimesNow::default().quantile_us(0.5), None);
    }

    #[test]
    fn what_came_before_does_not_count() {
        let times = Times::default();
        (0..10).for_each(|_| times.count(5_000_000));
        let before = times.now();
        (0..10).for_each(|_| times.count(1_000));
        assert_eq!(before.over_us(1000), 10);
        assert_eq!(times.now().since(&before).over_us(1000), 0);
    }
}
