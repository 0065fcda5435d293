//! The fallback's choices: least load first, equals in turn, weights counted.

use std::collections::BTreeMap;

use policy_api::ReplicaId;

use crate::fakes::fleet;
use crate::{Fallback, Target, Tried};

#[track_caller]
fn check(rows: &str, expected: &str) {
    let (view, fallback) = (fleet(rows), Fallback::default());
    let mut counts = BTreeMap::<u32, u32>::new();
    for _ in 0..12 {
        match fallback.place(&view, &Tried::default()).verdict {
            Target::Replica(ReplicaId(id)) => *counts.entry(id).or_default() += 1,
            other => panic!("no replica: {other:?}"),
        }
    }
    let counts: Vec<String> = counts.iter().map(|(id, count)| format!("{id}x{count}")).collect();
    assert_eq!(counts.join(" "), expected);
}

#[test]
fn the_least_loaded_takes_all() {
    check("up 2, up 1, up 3", "1x12");
}

#[test]
fn equals_take_turns() {
    check("up 1, up 1, up 5, up 1", "0x4 1x4 3x4");
}

#[test]
fn the_unhealthy_and_the_draining_take_nothing() {
    check("down 0, draining 0, up 9", "2x12");
}

#[test]
fn twice_the_weight_carries_twice_the_load() {
    check("up 1 w100, up 2 w200", "1x12");
    check("up 1 w100, up 3 w200", "0x6 1x6");
}
