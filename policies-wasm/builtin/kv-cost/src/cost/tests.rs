//! What costs how much, and how chance is bent by it.

use headworks_policy::{Health, Replica};
use proptest::prelude::*;

use super::*;

/// Blocks in use, tokens to prefill, and blocks of the prompt seen.
type Row = (u32, u32, u32);

/// A prompt of four blocks and 320 tokens: 20 KV blocks.
fn pick_in(config: &str, rows: &[Row], below: impl FnOnce(u32) -> u32, draw: impl FnOnce() -> u32) -> Option<Pick> {
    let replicas: Vec<Replica> = (0..)
        .zip(rows)
        .map(|(id, (kv_blocks_used, prefill_tokens, _))| Replica {
            id,
            kv_blocks_used: *kv_blocks_used,
            kv_blocks_total: 1000,
            prefill_tokens: *prefill_tokens,
            ..Replica::default()
        })
        .collect();
    let prefix = Prefix { blocks: 4, held: rows.iter().map(|row| row.2).collect() };
    let prompt = Prompt { tokens: 320, bytes: 1024, prefix };
    pick(&Fleet::of(&replicas, &[]), &prompt, &Config::parse(config).unwrap(), below, draw)
}

#[track_caller]
fn check(config: &str, rows: &[Row], expected: &str) {
    let pick = pick_in(config, rows, |_| panic!("there are no equals"), || panic!("nothing is drawn")).unwrap();
    assert_eq!(pick.why(), expected);
}

#[test]
fn blocks_to_prefill_and_at_decode_are_added() {
    check("{}", &[(40, 0, 4), (30, 0, 2), (15, 0, 0)], "least cost 35.0 on 2: 20.0 blocks to prefill, 15 at decode");
    check("{}", &[(40, 0, 4), (31, 0, 2), (25, 0, 0)], "least cost 40.0 on 0: 0.0 blocks to prefill, 40 at decode");
}

#[test]
fn what_is_queued_for_prefill_counts() {
    check("{}", &[(0, 800, 4), (40, 0, 4)], "least cost 40.0 on 1: 0.0 blocks to prefill, 40 at decode");
}

#[test]
fn the_weight_favours_cache_hits() {
    let rows = [(40, 0, 4), (15, 0, 0)];
    check(r#"{"overlap_weight":2}"#, &rows, "least cost 40.0 on 0: 0.0 blocks to prefill, 40 at decode");
    check(r#"{"overlap_weight":0}"#, &rows, "least cost 15.0 on 1: 20.0 blocks to prefill, 15 at decode");
}

#[test]
fn blocks_are_as_large_as_is_said() {
    check(r#"{"block_tokens":64}"#, &[(9, 0, 0)], "least cost 14.0 on 0: 5.0 blocks to prefill, 9 at decode");
}

#[test]
fn a_replica_that_does_not_say_its_blocks_counts_by_its_requests() {
    let replica = |id, running, waiting| Replica { id, running, waiting, kv_blocks_used: 1, ..Replica::default() };
    let prompt = Prompt { tokens: 33, bytes: 0, prefix: Prefix { blocks: 0, held: vec![0; 2] } };
    let fleet = Fleet::of(&[replica(0, 2, 1), replica(1, 1, 0)], &[]);
    let pick = pick(&fleet, &prompt, &Config::default(), |_| 0, || 0).unwrap();
    assert_eq!((pick.id, pick.cost.decode_blocks), (1, 3.0));
}

#[test]
fn equals_are_drawn_from() {
    assert_eq!(pick_in("{}", &[(1, 0, 0); 3], |bound| bound - 1, || panic!()).unwrap().id, 2);
}

#[test]
fn with_a_temperature_the_cheap_are_taken_more_often() {
    let shares = |temperature: f64| {
        let config = format!(r#"{{"temperature":{temperature}}}"#);
        let mut counts = [0_u32; 3];
        for step in 0..1000_u32 {
            let draw = step * (u32::MAX / 1000);
            counts[pick_in(&config, &[(0, 0, 4), (10, 0, 4), (20, 0, 4)], |_| 0, || draw).unwrap().id as usize] += 1;
        }
        counts
    };
    // e^0 : e^-0.5 : e^-1, and so on.
    assert_eq!(shares(1.0).map(|count| count / 10), [50, 30, 18]);
    assert_eq!(shares(0.01), [1000, 0, 0]);
    assert_eq!(shares(1000.0).map(|count| (count + 5) / 10), [33, 33, 33]);
}

#[test]
fn a_drawn_one_says_so() {
    let pick = pick_in(r#"{"temperature":1}"#, &[(0, 0, 4), (20, 0, 4)], |_| 0, || u32::MAX).unwrap();
    assert_eq!(pick.why(), "cost 20.0 on 1, drawn (least 0.0): 0.0 blocks to prefill, 20 at decode");
}

#[test]
fn what_takes_no_work_is_left_out() {
    let replicas =
        [Replica { health: Health::Unhealthy, ..Replica::default() }, Replica { draining: true, ..Replica::default() }];
    let prompt = Prompt { tokens: 1, bytes: 0, prefix: Prefix { blocks: 0, held: vec![0; 2] } };
    assert_eq!(pick(&Fleet::of(&replicas, &[]), &prompt, &Config::default(), |_| 0, || 0), None);
}

proptest! {
    #[test]
    fn nobody_is_cheaper_without_a_temperature_and_anybody_may_win_with_one(
        rows in proptest::collection::vec((0_u32..1000, 0_u32..5000, 0_u32..5), 1..12),
        temperature in prop_oneof![Just(0.0), 0.01_f64..10.0],
        draw in any::<u32>(),
    ) {
        let config = format!(r#"{{"temperature":{temperature}}}"#);
        let pick = pick_in(&config, &rows, |bound| bound / 2, || draw).expect("all take work");
        let total = |row: &Row| f64::from(320 - 80 * row.2 + row.1) / 16.0 + f64::from(row.0);
        prop_assert_eq!(pick.total, total(&rows[pick.id as usize]));
        prop_assert!(rows.iter().all(|row| total(row) >= pick.total_least));
        if temperature == 0.0 {
            prop_assert_eq!(pick.total, pick.total_least);
        }
    }
}
