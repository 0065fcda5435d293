//! Who matches how far, what is forgotten first, and that nothing is left behind.

mod model;

use proptest::prelude::*;

use super::*;
use model::Model;

fn index(blocks_max: usize, inserts: &[(Holder, &[u64])]) -> PrefixIndex {
    let mut index = PrefixIndex::new(blocks_max);
    for (holder, hashes) in inserts {
        index.insert(*holder, hashes);
    }
    index
}

#[track_caller]
fn check(index: &mut PrefixIndex, hashes: &[u64], of: fn(Holder) -> Option<u32>, expected: &[(u32, u32)]) {
    let (ids, blocks) = index.matches(hashes, of);
    let found: Vec<(u32, u32)> = ids.into_iter().zip(blocks).collect();
    assert_eq!(found, expected);
}

#[test]
fn each_holder_matches_as_far_as_it_holds() {
    let mut index =
        index(100, &[(Holder::Replica(7), &[1, 2, 3]), (Holder::Replica(3), &[1]), (Holder::Region(9), &[1, 2])]);
    check(&mut index, &[1, 2, 3, 4], Holder::replica, &[(3, 1), (7, 3)]);
    check(&mut index, &[1, 2, 3, 4], Holder::region, &[(9, 2)]);
    check(&mut index, &[8], Holder::replica, &[]);
    check(&mut index, &[], Holder::replica, &[]);
}

#[test]
fn a_branch_is_matched_to_its_own_end() {
    let mut index = index(100, &[(Holder::Replica(1), &[1, 2, 3, 4]), (Holder::Replica(2), &[1, 2, 30, 40])]);
    check(&mut index, &[1, 2, 3, 4], Holder::replica, &[(1, 4), (2, 2)]);
    check(&mut index, &[1, 2, 30, 40, 50], Holder::replica, &[(1, 2), (2, 4)]);
    check(&mut index, &[1, 2, 31], Holder::replica, &[(1, 2), (2, 2)]);
}

#[test]
fn a_prefix_is_forgotten_from_its_end() {
    let mut index = index(3, &[(Holder::Replica(1), &[1, 2, 3])]);
    index.insert(Holder::Replica(2), &[10]);
    check(&mut index, &[1, 2, 3], Holder::replica, &[(1, 2)]);
    check(&mut index, &[10], Holder::replica, &[(2, 1)]);
    assert_eq!(index.evicted(), 1);
}

#[test]
fn what_comes_after_an_inserted_prefix_does_not_grow_younger_with_it() {
    let mut index = index(4, &[(Holder::Replica(1), &[1, 2, 3]), (Holder::Replica(2), &[10])]);
    index.insert(Holder::Replica(1), &[1, 2]);
    index.insert(Holder::Replica(3), &[20]);
    check(&mut index, &[1, 2, 3], Holder::replica, &[(1, 2)]);
    check(&mut index, &[10], Holder::replica, &[(2, 1)]);
}

#[test]
fn a_conversation_that_goes_on_with_one_holder_stays_one_run() {
    let mut index = PrefixIndex::new(1000);
    let turns: Vec<u64> = (1..=50).collect();
    for end in 1..=turns.len() {
        index.insert(Holder::Replica(1), &turns[..end]);
    }
    assert_eq!(index.runs.iter().count(), 1);
    check(&mut index, &turns, Holder::replica, &[(1, 50)]);
}

#[test]
fn a_prefix_that_many_prompts_share_is_cut_once() {
    let mut index = PrefixIndex::new(1000);
    for prompt in 0..10 {
        index.insert(Holder::Replica(1), &[1, 2, 3, 100 + prompt, 200 + prompt]);
    }
    assert_eq!(index.runs.iter().count(), 11);
    assert_eq!(index.blocks_now(), 23);
}

#[test]
fn an_evicted_holder_is_gone_and_others_stay() {
    let mut index = index(100, &[(Holder::Replica(1), &[1, 2]), (Holder::Replica(2), &[1, 2])]);
    index.evict(Holder::Replica(1));
    check(&mut index, &[1, 2], Holder::replica, &[(2, 2)]);
    assert_eq!(index.blocks_now(), 2);
}

#[test]
fn an_evicted_holder_gives_its_room_to_others_before_any_of_them_is_forgotten() {
    let mut index = index(4, &[(Holder::Replica(2), &[9]), (Holder::Replica(1), &[1, 2, 3])]);
    index.evict(Holder::Replica(1));
    assert_eq!(index.blocks_now(), 1);
    index.insert(Holder::Replica(1), &[1, 2, 3]);
    check(&mut index, &[9], Holder::replica, &[(2, 1)]);
    check(&mut index, &[1, 2, 3], Holder::replica, &[(1, 3)]);
    assert_eq!(index.evicted(), 0);
}

#[test]
fn a_holder_that_is_evicted_again_and_again_leaves_nothing_behind() {
    let mut index = index(1000, &[(Holder::Replica(2), &[1])]);
    for _ in 0..100 {
        index.insert(Holder::Replica(1), &[1]);
        index.evict(Holder::Replica(1));
    }
    let shares = index.runs.iter().map(|(_, run)| run.shares().len()).max();
    assert!(shares <= Some(3), "{shares:?}");
    assert!(index.leases.holders.len() <= 4);
}

/// Every list and count agrees with every other.
#[track_caller]
fn assert_whole(index: &PrefixIndex) {
    let mut blocks = 0;
    for (number, run) in index.runs.iter() {
        let longest = run.shares().iter().map(|share| share.blocks).max();
        assert_eq!(longest, Some(run.len()), "a run is as long as its longest share");
        for share in run.shares() {
            assert!(share.blocks > 0);
            let lease = index.leases[share.lease];
            assert_eq!((lease.run, lease.holder), (number, share.holder));
            blocks += share.blocks;
        }
    }
    let leases: usize = index.runs.iter().map(|(_, run)| run.shares().len()).sum();
    assert_eq!(index.leases.by_age().count(), leases);
    assert_eq!(index.leases.blocks_kept(), blocks);
    assert!(blocks <= index.blocks_max);
    assert!(index.leases.holders.iter().all(|holder| holder.reach == 0));
}

#[derive(Clone, Debug)]
enum Act {
    Insert(Holder, Vec<u64>),
    Evict(Holder),
}

fn holder() -> impl Strategy<Value = Holder> {
    prop_oneof![4 => (0_u32..4).prop_map(Holder::Replica), 1 => (0_u32..2).prop_map(Holder::Region)]
}

/// A path in a tree with two or three branches at each place, as chained hashes of it.
fn prompt() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(prop_oneof![6 => Just(0_u64), 2 => Just(1), 1 => Just(2)], 1..14).prop_map(|turns| {
        let chained = turns.into_iter().scan(7_u64, |chain, turn| {
            *chain = (*chain ^ turn).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_add(turn);
            Some(*chain)
        });
        chained.collect()
    })
}

fn acts(hashes: impl Strategy<Value = Vec<u64>>) -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        9 => (holder(), hashes).prop_map(|(holder, hashes)| Act::Insert(holder, hashes)),
        1 => holder().prop_map(Act::Evict),
    ];
    proptest::collection::vec(act, 0..120)
}

proptest! {
    #[test]
    fn it_answers_as_the_model_does(
        acts in acts(prompt()),
        asked in proptest::collection::vec(prompt(), 4),
        blocks_max in 1_usize..60,
    ) {
        let (mut index, mut model) = (PrefixIndex::new(blocks_max), Model::new(blocks_max));
        for act in acts {
            match &act {
                Act::Insert(holder, hashes) => {
                    index.insert(*holder, hashes);
                    model.insert(*holder, hashes);
                    prop_assert_eq!(index.matches(hashes, Holder::replica), model.matches(hashes, Holder::replica));
                }
                Act::Evict(holder) => {
                    index.evict(*holder);
                    model.evict(*holder);
                }
            }
            assert_whole(&index);
            prop_assert_eq!(index.blocks_now(), model.blocks_now());
            for hashes in &asked {
                prop_assert_eq!(index.matches(hashes, Holder::replica), model.matches(hashes, Holder::replica));
                prop_assert_eq!(index.matches(hashes, Holder::region), model.matches(hashes, Holder::region));
            }
        }
    }

    #[test]
    fn hashes_that_are_not_chained_leave_it_whole(
        acts in acts(proptest::collection::vec(0_u64..8, 1..12)),
        blocks_max in 1_usize..40,
    ) {
        let mut index = PrefixIndex::new(blocks_max);
        for act in acts {
            match act {
                Act::Insert(holder, hashes) => {
                    index.insert(holder, &hashes);
                    index.matches(&hashes, Holder::replica);
                }
                Act::Evict(holder) => index.evict(holder),
            }
            assert_whole(&index);
        }
    }
}
