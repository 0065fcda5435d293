//! The ring: points of each replica by its weight, in the order of their hashes.

use headworks_policy::mix64;

/// Points of a ring, at most; a larger fleet gets fewer points each.
const POINTS_MAX: u64 = 32_768;

/// The ring of one fleet. Health and load are no part of it, so that it changes only when replicas come or leave.
#[derive(Debug, Default)]
pub struct Ring {
    points: Vec<Point>,
    ids: Vec<u32>,
    weights: Vec<u32>,
}

/// Where a replica stands on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    hash: u32,
    id: u32,
    row: u32,
}

impl Ring {
    /// Builds the ring anew where the fleet is another.
    pub fn follow(&mut self, ids: &[u32], weights: &[u32], points_per_replica: u32) {
        if self.ids == ids && self.weights == weights {
            return;
        }
        self.ids = ids.to_vec();
        self.weights = weights.to_vec();
        let wanted = |weight: &u32| (u64::from(*weight) * u64::from(points_per_replica) / 100).max(1);
        let total: u64 = weights.iter().map(wanted).sum();
        self.points.clear();
        for (row, (id, weight)) in (0_u32..).zip(ids.iter().zip(weights)) {
            // A replica's points are the first of an endless row of its own: with another count, the others stay.
            let count = if total > POINTS_MAX { wanted(weight) * POINTS_MAX / total } else { wanted(weight) };
            let point = |copy| Point { hash: (mix64(u64::from(*id) << 32 | copy) >> 32) as u32, id: *id, row };
            self.points.extend((0..count.max(1)).map(point));
        }
        self.points.sort_unstable();
    }

    /// The rows clockwise from `key` on, once around. A row comes once for each of its points.
    pub fn from(&self, key: u64) -> impl Iterator<Item = usize> {
        let hash = (mix64(key) >> 32) as u32;
        let start = self.points.partition_point(|point| point.hash < hash);
        let (before, behind) = self.points.split_at(start);
        behind.iter().chain(before).map(|point| point.row as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn homes(ids: &[u32]) -> Vec<u32> {
        let mut ring = Ring::default();
        ring.follow(ids, &vec![100; ids.len()], 64);
        (0..200).map(|key| ids[ring.from(key).next().unwrap()]).collect()
    }

    #[test]
    fn an_empty_ring_has_no_rows() {
        assert_eq!(Ring::default().from(7).count(), 0);
    }

    #[test]
    fn it_is_not_built_for_a_fleet_that_stayed() {
        let mut ring = Ring::default();
        ring.follow(&[1, 2], &[100, 200], 8);
        assert_eq!(ring.points.len(), 24);
        ring.points.clear();
        ring.follow(&[1, 2], &[100, 200], 8);
        assert_eq!(ring.points.len(), 0);
        ring.follow(&[1, 2], &[100, 100], 8);
        assert_eq!(ring.points.len(), 16);
    }

    #[test]
    fn its_size_is_bounded_and_nobody_is_left_out() {
        let ids: Vec<u32> = (0..1000).collect();
        let mut ring = Ring::default();
        ring.follow(&ids, &vec![1_000_000; 1000], 512);
        assert!(ring.points.len() <= POINTS_MAX as usize);
        let mut rows: Vec<usize> = ring.from(3).collect();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), 1000);
    }

    #[test]
    fn keys_are_spread_by_weight() {
        let mut ring = Ring::default();
        ring.follow(&[1, 2, 3], &[100, 100, 200], 256);
        let mut counts = [0; 3];
        for key in 0..10_000 {
            counts[ring.from(key).next().unwrap()] += 1;
        }
        assert!((2000..3000).contains(&counts[0]) && (4200..5800).contains(&counts[2]), "{counts:?}");
    }

    proptest! {
        #[test]
        fn when_a_replica_leaves_only_its_own_keys_move(
            ids in proptest::collection::btree_set(0_u32..1000, 2..12),
            leaving in any::<prop::sample::Index>(),
        ) {
            let all: Vec<u32> = ids.into_iter().collect();
            let gone = *leaving.get(&all);
            let rest: Vec<u32> = all.iter().copied().filter(|id| *id != gone).collect();
            for (before, after) in homes(&all).into_iter().zip(homes(&rest)) {
                if before != gone {
                    prop_assert_eq!(before, after);
                }
                prop_assert_ne!(after, gone);
            }
        }
    }
}
