//! Who gets a prompt, in each mode, and that nobody becomes a hot spot.

use headworks_policy::{Health, Replica};
use proptest::prelude::*;

use super::*;

/// Loads and matched blocks by replica, of a prompt of 16 blocks.
#[track_caller]
fn check(config: &str, rows: &[(u32, u32)], expected: (u32, &str)) {
    let pick = pick_in(config, &fleet_of(rows), 16, |_| 0).unwrap();
    assert_eq!((pick.id, &*pick.why(16)), expected);
}

fn fleet_of(rows: &[(u32, u32)]) -> Vec<(Replica, u32)> {
    (0..)
        .zip(rows)
        .map(|(id, (running, held))| (Replica { id, running: *running, ..Replica::default() }, *held))
        .collect()
}

fn pick_in(config: &str, rows: &[(Replica, u32)], blocks: u32, below: impl FnOnce(u32) -> u32) -> Option<Pick> {
    let replicas: Vec<Replica> = rows.iter().map(|(replica, _)| *replica).collect();
    let prefix = Prefix { blocks, held: rows.iter().map(|(_, held)| *held).collect() };
    pick(&Fleet::of(&replicas, &[]), &prefix, &Config::parse(config).unwrap(), below)
}

const BLOCK: &str = "{}";
const SGLANG: &str = r#"{"mode":"sglang"}"#;
const AIBRIX: &str = r#"{"mode":"aibrix"}"#;

#[test]
fn the_longest_match_wins_in_every_mode() {
    for mode in [BLOCK, SGLANG, AIBRIX] {
        check(mode, &[(1, 8), (1, 12), (1, 0)], (1, "12 of 16 blocks matched on 1, load 1, least 1"));
    }
}

#[test]
fn among_equal_matches_the_least_load_wins() {
    for mode in [BLOCK, SGLANG, AIBRIX] {
        check(mode, &[(2, 12), (1, 12), (2, 0)], (1, "12 of 16 blocks matched on 1, load 1, least 1"));
    }
}

#[test]
fn a_match_below_the_threshold_does_not_count() {
    check(BLOCK, &[(1, 1), (0, 0)], (1, "1 has the least load 0: no match, at most 1 of 16 blocks"));
    check(BLOCK, &[(1, 2), (0, 0)], (0, "2 of 16 blocks matched on 0, load 1, least 0"));
    check(SGLANG, &[(1, 4), (0, 0)], (1, "1 has the least load 0: no match, at most 4 of 16 blocks"));
    check(SGLANG, &[(1, 5), (0, 0)], (0, "5 of 16 blocks matched on 0, load 1, least 0"));
    check(AIBRIX, &[(1, 1), (1, 0)], (0, "1 of 16 blocks matched on 0, load 1, least 1"));
}

#[test]
fn block_leaves_out_the_busy_one_by_one() {
    // The mean is 5, so the bound is 11.5.
    check(BLOCK, &[(12, 16), (3, 8), (0, 0)], (1, "8 of 16 blocks matched on 1, load 3, least 0"));
    check(BLOCK, &[(12, 16), (3, 0), (0, 0)], (2, "2 has the least load 0: too busy where 16 of 16 blocks matched"));
    check(BLOCK, &[(11, 16), (3, 8), (1, 0)], (0, "16 of 16 blocks matched on 0, load 11, least 1"));
}

#[test]
fn sglang_balances_when_both_bounds_are_passed() {
    check(SGLANG, &[(66, 16), (1, 0)], (1, "1 has the least load 1: imbalance, up to 66"));
    check(SGLANG, &[(65, 16), (1, 0)], (0, "16 of 16 blocks matched on 0, load 65, least 1"));
    check(SGLANG, &[(265, 16), (200, 0)], (0, "16 of 16 blocks matched on 0, load 265, least 200"));
    check(SGLANG, &[(65, 16), (0, 0)], (1, "1 has the least load 0: imbalance, up to 65"));
}

#[test]
fn aibrix_keeps_within_a_standard_deviation() {
    // The mean is 4 and the deviation 4: load 8 may, load 9 of another fleet may not.
    check(AIBRIX, &[(8, 16), (0, 0)], (0, "16 of 16 blocks matched on 0, load 8, least 0"));
    check(AIBRIX, &[(9, 16), (0, 0)], (1, "1 has the least load 0: imbalance, up to 9"));
    check(AIBRIX, &[(8, 16), (2, 4), (2, 0)], (1, "4 of 16 blocks matched on 1, load 2, least 2"));
}

#[test]
fn a_short_prompt_goes_by_load() {
    let pick = pick_in(BLOCK, &fleet_of(&[(2, 0), (1, 0)]), 0, |_| 0).unwrap();
    assert_eq!(&*pick.why(0), "1 has the least load 1: no match, at most 0 of 0 blocks");
}

#[test]
fn equals_without_a_match_are_drawn_from() {
    assert_eq!(pick_in(BLOCK, &fleet_of(&[(1, 0), (1, 0), (1, 0)]), 16, |bound| bound - 1).unwrap().id, 2);
}

#[test]
fn a_match_on_a_replica_that_takes_no_work_does_not_count() {
    let mut rows = fleet_of(&[(0, 16), (0, 16), (5, 0)]);
    rows[0].0.health = Health::Unhealthy;
    rows[1].0.draining = true;
    for mode in [BLOCK, SGLANG, AIBRIX] {
        assert_eq!(pick_in(mode, &rows, 16, |_| 0).unwrap().id, 2);
        assert_eq!(pick_in(mode, &rows[..2], 16, |_| 0), None);
        assert_eq!(pick_in(mode, &[], 16, |_| 0), None);
    }
}

#[test]
fn loads_as_large_as_can_be_said_do_not_overflow() {
    let huge = Replica { running: u32::MAX, waiting: u32::MAX, ..Replica::default() };
    for mode in [BLOCK, SGLANG, AIBRIX] {
        assert_eq!(pick_in(mode, &[(huge, 1), (Replica { id: 1, ..huge }, 16)], 16, |_| 0).unwrap().id, 1);
    }
}

proptest! {
    #[test]
    fn nobody_beyond_the_guard_is_chosen(
        rows in proptest::collection::vec((0_u32..200, 0_u32..17, any::<bool>()), 1..20),
        mode in 0_usize..3,
    ) {
        let fleet: Vec<(Replica, u32)> = (0..)
            .zip(&rows)
            .map(|(id, (running, held, draining))| {
                (Replica { id, running: *running, draining: *draining, ..Replica::default() }, *held)
            })
            .collect();
        let takers: Vec<f64> = rows.iter().filter(|row| !row.2).map(|row| f64::from(row.0)).collect();
        let pick = pick_in([BLOCK, SGLANG, AIBRIX][mode], &fleet, 16, |bound| bound / 2);
        prop_assert_eq!(pick.is_some(), !takers.is_empty());
        let Some(pick) = pick else { return Ok(()) };
        prop_assert!(!rows[pick.id as usize].2);
        let mean = takers.iter().sum::<f64>() / takers.len() as f64;
        let least = takers.iter().copied().fold(f64::INFINITY, f64::min);
        let guard = match mode {
            0 => mean * 1.5 + 4.0,
            1 => (least + 64.0).max(least * 1.5),
            _ => least + 8.0,
        };
        prop_assert!(pick.load as f64 <= guard, "{} is beyond {guard}", pick.load);
    }
}
