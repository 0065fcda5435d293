//! A distribution of microseconds in logarithmic buckets: small, mergeable, true to about three per cent.

/// Each power of two is cut in this many.
const PARTS: u64 = 16;
const PARTS_BITS: u32 = PARTS.trailing_zeros();
/// Up to 2^36 µs, some 19 hours.
const BUCKETS: usize = (36 - PARTS_BITS as usize + 1) * PARTS as usize;

#[derive(Clone, Default)]
pub(crate) struct Histogram {
    /// Empty until the first value.
    counts: Vec<u32>,
    total: u64,
}

/// The usual quantiles; `None` when there was no value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Quantiles {
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
}

impl Histogram {
    pub fn add(&mut self, value: u64) {
        self.counts.resize(BUCKETS, 0);
        self.counts[bucket_of(value)] += 1;
        self.total += 1;
    }

    pub fn merge(&mut self, other: &Histogram) {
        if other.total == 0 {
            return;
        }
        self.counts.resize(BUCKETS, 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
    }

    pub fn quantiles(&self) -> Quantiles {
        Quantiles { p50: self.quantile(0.50), p90: self.quantile(0.90), p99: self.quantile(0.99) }
    }

    fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut below = 0;
        self.counts.iter().enumerate().find_map(|(bucket, count)| {
            below += u64::from(*count);
            (below >= rank).then(|| middle_of(bucket))
        })
    }
}

fn bucket_of(value: u64) -> usize {
    if value < PARTS {
        return value as usize;
    }
    let power = value.ilog2() - PARTS_BITS;
    let part = (value >> power) - PARTS;
    (((u64::from(power) + 1) * PARTS + part) as usize).min(BUCKETS - 1)
}

fn middle_of(bucket: usize) -> f64 {
    let (power, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    if power == 0 {
        return part as f64;
    }
    let width = 1_u64 << (power - 1);
    ((PARTS + part) * width) as f64 + (width - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_has_no_quantiles() {
        assert_eq!(Histogram::default().quantiles(), Quantiles::default());
    }

    proptest! {
        #[test]
        fn quantiles_are_true_to_four_per_cent(mut values in prop::collection::vec(0..10_000_000_u64, 1..200)) {
            let mut halves = [Histogram::default(), Histogram::default()];
            values.iter().enumerate().for_each(|(index, value)| halves[index % 2].add(*value));
            let [mut all, other] = halves;
            all.merge(&other);
            values.sort_unstable();
            for share in [0.5, 0.9, 0.99] {
                let exact = values[((values.len() as f64 * share).ceil() as usize).max(1) - 1] as f64;
                let found = all.quantile(share).expect("there are values");
                prop_assert!((found - exact).abs() <= exact * 0.04, "{share}: {found} for {exact}");
            }
        }
    }
}
