//! Who has the least to do, over all and over two.

use headworks_policy::{Health, Replica};

use super::*;

/// An idle replica with this many running requests.
fn replica(id: u32, running: u32) -> Replica {
    Replica { id, running, kv_blocks_total: 100, ..Replica::default() }
}

#[track_caller]
fn check(replicas: &[Replica], scan: Scan, draws: &[u32], expected: Option<(u32, &str)>) {
    let fleet = Fleet::of(replicas, &[]);
    let mut draws = draws.iter().copied();
    let pick = pick(&fleet, scan, |bound| {
        let drawn = draws.next().expect("no more draws than listed");
        assert!(drawn < bound, "{drawn} of {bound}");
        drawn
    });
    assert_eq!(pick.as_ref().map(|pick| (pick.id, &*pick.why)), expected);
    assert_eq!(draws.next(), None, "every listed draw is made");
}

#[test]
fn running_and_waiting_count_alike() {
    let mixed = [Replica { waiting: 2, ..replica(3, 1) }, replica(5, 2)];
    check(&mixed, Scan::All, &[], Some((5, "lowest load 2 of 3=3, 5=2")));
}

#[test]
fn kv_use_tells_equals_apart() {
    let equal = [Replica { kv_blocks_used: 5, ..replica(0, 1) }, Replica { kv_blocks_used: 2, ..replica(3, 1) }];
    check(&equal, Scan::All, &[], Some((3, "lowest load 1 and KV use 20‰ of 0=1 (50‰), 3=1 (20‰)")));
}

#[test]
fn a_replica_that_does_not_say_its_blocks_counts_as_empty() {
    let silent = [Replica { kv_blocks_total: 0, kv_blocks_used: 9, ..replica(0, 1) }, replica(1, 1)];
    check(&silent, Scan::All, &[1], Some((1, "lowest load 1 of 0=1, 1=1")));
}

#[test]
fn among_equals_chance_decides() {
    let idle = [replica(0, 0), replica(1, 0), replica(2, 0)];
    check(&idle, Scan::All, &[2], Some((2, "lowest load 0 of 0=0, 1=0, 2=0")));
}

#[test]
fn two_are_drawn_and_the_others_are_not_looked_at() {
    let replicas = [replica(0, 9), replica(1, 0), replica(2, 3), replica(3, 4)];
    check(&replicas, Scan::Two, &[2, 0], Some((2, "lowest load 3 of 2=3, 3=4")));
    check(&replicas, Scan::Two, &[3, 0], Some((3, "lowest load 4 of 3=4, 0=9")));
}

#[test]
fn where_one_drawn_takes_no_work_two_of_those_that_do_are_drawn() {
    let sick = Replica { health: Health::Unhealthy, ..replica(1, 0) };
    let replicas = [replica(0, 9), sick, replica(2, 3), replica(3, 4), replica(4, 5)];
    check(&replicas, Scan::Two, &[0, 0, 1, 0], Some((2, "lowest load 3 of 2=3, 3=4")));
    check(&replicas[..3], Scan::Two, &[0, 0], Some((2, "lowest load 3 of 0=9, 2=3")));
}

#[test]
fn the_two_drawn_are_never_the_same() {
    let replicas = [replica(0, 0), replica(1, 1), replica(2, 2)];
    for first in 0..3 {
        for step in 0..2 {
            let mut draws = [first, step].into_iter();
            let fleet = Fleet::of(&replicas, &[]);
            let pick = pick(&fleet, Scan::Two, |_| draws.next().unwrap()).unwrap();
            assert_eq!(pick.why.matches('=').count(), 2, "{}", &*pick.why);
            assert_ne!(pick.id, 2, "the most loaded of three cannot win against another");
        }
    }
}

#[test]
fn sick_and_leaving_replicas_are_left_out() {
    let replicas = [
        Replica { health: Health::Unhealthy, ..replica(0, 0) },
        Replica { draining: true, ..replica(1, 0) },
        Replica { health: Health::Unknown, ..replica(2, 0) },
        replica(3, 7),
    ];
    check(&replicas, Scan::All, &[], Some((3, "the only one that takes work, load 7")));
    check(&replicas[..3], Scan::All, &[], None);
    check(&[], Scan::Two, &[], None);
}

#[test]
fn a_long_list_is_cut() {
    let replicas: Vec<Replica> = (0..6).map(|id| replica(id, id)).collect();
    check(&replicas, Scan::All, &[], Some((0, "lowest load 0 of 0=0, 1=1, 2=2, 3=3 and 2 more")));
}

#[test]
fn sums_do_not_overflow() {
    let huge = [Replica { waiting: u32::MAX, kv_blocks_used: u32::MAX, kv_blocks_total: 1, ..replica(0, u32::MAX) }];
    check(&huge, Scan::All, &[], Some((0, "the only one that takes work, load 4294967295")));
}
