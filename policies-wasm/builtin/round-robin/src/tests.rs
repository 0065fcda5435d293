//! Whose turn it is.

use headworks_policy::{Health, Replica};

use super::*;

/// A `-` before an id means an unhealthy replica.
#[track_caller]
fn check(replicas: &[i32], turns: u64, expected: &[u32]) {
    let replicas: Vec<Replica> = replicas
        .iter()
        .map(|id| Replica {
            id: id.unsigned_abs(),
            health: if *id < 0 { Health::Unhealthy } else { Health::Healthy },
            ..Replica::default()
        })
        .collect();
    let fleet = Fleet::of(&replicas, &[]);
    let picked: Vec<u32> = (0..turns)
        .map(|turn| match pick(&fleet, || turn) {
            Placement::Replica(id) => id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(picked, expected);
}

#[test]
fn replicas_are_taken_in_turn() {
    check(&[4, 7, 9], 7, &[4, 7, 9, 4, 7, 9, 4]);
}

#[test]
fn a_sick_replica_is_left_out() {
    check(&[4, -7, 9], 4, &[4, 9, 4, 9]);
}

#[test]
fn without_a_replica_the_next_policy_is_asked_and_no_turn_is_lost() {
    let fleet = Fleet::of(&[Replica { draining: true, ..Replica::default() }], &[]);
    let placement = pick(&fleet, || panic!("a turn was taken"));
    assert!(matches!(placement, Placement::Pass));
}

#[test]
fn the_last_turn_before_the_counter_wraps_is_a_turn() {
    let fleet = Fleet::of(&[Replica::default()], &[]);
    assert!(matches!(pick(&fleet, || u64::MAX), Placement::Replica(0)));
}
