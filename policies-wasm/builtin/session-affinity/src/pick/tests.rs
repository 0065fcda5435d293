//! Who gets a key, and that nobody gets more than the bound.

use headworks_policy::{Health, Replica};
use proptest::prelude::*;

use super::*;

const FACTOR: u32 = 1250;

fn pick_in(replicas: &[Replica], key: u64) -> Option<Pick> {
    let fleet = Fleet::of(replicas, &[]);
    let mut ring = Ring::default();
    ring.follow(fleet.id(), fleet.weight(), 64);
    pick(&ring, &fleet, key, FACTOR)
}

fn fleet_of(loads: &[u32]) -> Vec<Replica> {
    (0..).zip(loads).map(|(id, running)| Replica { id, running: *running, ..Replica::default() }).collect()
}

#[test]
fn a_key_is_at_home_until_its_home_is_full() {
    let idle = pick_in(&fleet_of(&[0; 4]), 9).unwrap();
    assert_eq!(idle.home, None);
    let mut busy = fleet_of(&[2; 4]);
    busy[idle.id as usize].running = 4;
    let elsewhere = pick_in(&busy, 9).unwrap();
    // Eleven requests on four replicas: a share of 2.75, times 1.25, rounded up.
    assert_eq!(elsewhere.home, Some((idle.id, NotHome::Full)));
    assert_eq!((elsewhere.load, elsewhere.bound), (2, 4));
    let why = elsewhere.why("session");
    assert!(why.ends_with(&format!("load 2 below 4; its home {} is full", idle.id)), "{why}");
}

#[test]
fn what_takes_no_work_is_passed_over_and_no_bound_counts_it() {
    let home = pick_in(&fleet_of(&[0; 3]), 5).unwrap().id;
    for change in
        [|replica: &mut Replica| replica.health = Health::Unhealthy, |replica: &mut Replica| replica.draining = true]
    {
        let mut replicas = fleet_of(&[0; 3]);
        replicas[home as usize].running = 100;
        change(&mut replicas[home as usize]);
        let pick = pick_in(&replicas, 5).unwrap();
        assert_eq!((pick.home, pick.bound), (Some((home, NotHome::TakesNoWork)), 1));
    }
}

#[test]
fn without_a_replica_there_is_none() {
    assert_eq!(pick_in(&[], 1), None);
    assert_eq!(pick_in(&[Replica { draining: true, ..Replica::default() }], 1), None);
}

#[test]
fn a_heavier_replica_may_have_more() {
    let replicas = [
        Replica { id: 0, running: 3, ..Replica::default() },
        Replica { id: 1, running: 3, weight: 300, ..Replica::default() },
    ];
    for key in 0..50 {
        assert_eq!(pick_in(&replicas, key).unwrap().id, 1, "of eight, 0 may have 2.5 and 1 may have 7.5");
    }
}

#[test]
fn loads_as_large_as_can_be_said_do_not_overflow() {
    let replicas = [Replica { running: u32::MAX, waiting: u32::MAX, weight: u32::MAX, ..Replica::default() }];
    assert_eq!(pick_in(&replicas, 1).unwrap().load, 2 * u64::from(u32::MAX));
}

proptest! {
    #[test]
    fn someone_always_has_room_and_stays_within_the_bound(
        rows in proptest::collection::vec((0_u32..40, 0_u32..40, 0_u32..300, any::<bool>()), 1..12),
        key in any::<u64>(),
    ) {
        let replicas: Vec<Replica> = (0..)
            .zip(&rows)
            .map(|(id, (running, waiting, weight, draining))| Replica {
                id, running: *running, waiting: *waiting, weight: *weight, draining: *draining, ..Replica::default()
            })
            .collect();
        let takers: Vec<&Replica> = replicas.iter().filter(|replica| !replica.draining).collect();
        let pick = pick_in(&replicas, key);
        prop_assert_eq!(pick.is_some(), !takers.is_empty());
        if let Some(pick) = pick {
            let chosen = takers.iter().find(|replica| replica.id == pick.id).expect("it takes work");
            let total: u32 = 1 + takers.iter().map(|replica| replica.running + replica.waiting).sum::<u32>();
            let weight: u32 = takers.iter().map(|replica| replica.weight.max(1)).sum();
            let share = f64::from(total) * f64::from(chosen.weight.max(1)) / f64::from(weight);
            prop_assert!(f64::from(chosen.running + chosen.waiting + 1) <= (1.25 * share).ceil() + 1e-9);
        }
    }

    #[test]
    fn when_a_replica_falls_ill_only_its_own_keys_move(count in 2_u32..10, sick in any::<prop::sample::Index>()) {
        let well = fleet_of(&vec![0; count as usize]);
        let mut ill = well.clone();
        let sick = sick.index(count as usize);
        ill[sick].health = Health::Unhealthy;
        for key in 0..20 {
            let (before, after) = (pick_in(&well, key).unwrap().id, pick_in(&ill, key).unwrap().id);
            prop_assert!(before == after || before == sick as u32);
        }
    }
}
