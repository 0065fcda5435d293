//! Local before remote, room before match, and nothing forwarded twice.

use headworks_policy::{Region, Replica};
use proptest::prelude::*;

use super::*;

const HERE: Region = Region { id: 0, local: true, available: 1, queue: 0, rtt_us: 0, age_ms: 0 };

fn replica(id: u32, running: u32, waiting: u32) -> Replica {
    Replica { id, running, waiting, ..Replica::default() }
}

fn region(id: u32, available: u32, queue: u32, rtt_us: u32) -> Region {
    Region { id, available, queue, rtt_us, ..Region::default() }
}

/// Ten blocks; the matches are in the order of the rows.
struct Scene<'a> {
    config: &'a str,
    hop: Hop,
    replicas: &'a [Replica],
    seen: &'a [u32],
    regions: &'a [Region],
    seen_there: &'a [u32],
}

const SCENE: Scene<'static> =
    Scene { config: "{}", hop: Hop::First, replicas: &[], seen: &[], regions: &[], seen_there: &[] };

#[track_caller]
fn check(scene: Scene<'_>, expected: Option<(Target, &str)>) {
    let Scene { config, hop, replicas, seen, regions, seen_there } = scene;
    let prefix = |seen: &[u32], rows: usize| {
        let held = (0..rows).map(|row| seen.get(row).copied().unwrap_or_default()).collect();
        Prefix { blocks: 10, held }
    };
    let picked = pick(
        &Fleet::of(replicas, regions),
        hop,
        &Config::parse(config).unwrap(),
        || prefix(seen, replicas.len()),
        || prefix(seen_there, regions.len()),
        |_| 0,
    );
    let found = picked.map(|(target, why)| (target, why.to_string()));
    assert_eq!(found.as_ref().map(|(target, why)| (*target, why.as_str())), expected);
}

#[test]
fn a_local_replica_with_room_that_has_seen_the_prompt_comes_first() {
    let replicas = [replica(0, 1, 0), replica(1, 5, 0), replica(2, 0, 0)];
    let scene = Scene {
        replicas: &replicas,
        seen: &[6, 8, 0],
        regions: &[HERE, region(1, 4, 0, 10)],
        seen_there: &[0, 10],
        ..SCENE
    };
    check(scene, Some((Target::Replica(1), "local: 8 of 10 blocks matched on 1")));
}

#[test]
fn below_the_threshold_the_least_loaded_is_tried() {
    let replicas = [replica(0, 3, 0), replica(1, 2, 0)];
    check(
        Scene { replicas: &replicas, seen: &[4, 0], ..SCENE },
        Some((Target::Replica(1), "local: 1 has the least load 2 of 2 with room, no match")),
    );
    check(
        Scene { replicas: &replicas, seen: &[4, 0], config: r#"{"match_threshold":0.4}"#, ..SCENE },
        Some((Target::Replica(0), "local: 4 of 10 blocks matched on 0")),
    );
}

#[test]
fn a_replica_that_holds_requests_back_has_no_room() {
    let replicas = [replica(0, 1, 1), replica(1, 40, 0)];
    check(
        Scene { replicas: &replicas, seen: &[10, 0], ..SCENE },
        Some((Target::Replica(1), "local: 1 has the least load 40 of 1 with room, no match")),
    );
}

#[test]
fn or_one_that_has_as_many_as_it_may() {
    let replicas = [replica(0, 3, 1), replica(1, 3, 0)];
    check(
        Scene {
            config: r#"{"push_by":"outstanding","outstanding_max":4}"#,
            replicas: &replicas,
            seen: &[10, 0],
            ..SCENE
        },
        Some((Target::Replica(1), "local: 1 has the least load 3 of 1 with room, no match")),
    );
}

#[test]
fn without_room_the_region_that_has_seen_the_prompt_gets_it_or_the_nearest() {
    let (replicas, regions) = ([replica(0, 1, 1)], [HERE, region(1, 1, 0, 80_000), region(2, 1, 0, 20_500)]);
    let scene = Scene { replicas: &replicas, seen: &[10], regions: &regions, ..SCENE };
    check(
        Scene { seen_there: &[0, 7, 4], ..scene },
        Some((Target::Region(1), "no room here: 7 of 10 blocks matched in region 1")),
    );
    check(
        Scene { replicas: &replicas, regions: &regions, seen_there: &[0, 4, 0], ..SCENE },
        Some((Target::Region(2), "no room here: region 2 is the nearest, 20.5 ms away, no match")),
    );
    check(
        Scene { replicas: &replicas, regions: &regions, seen_there: &[0, 7, 7], ..SCENE },
        Some((Target::Region(2), "no room here: 7 of 10 blocks matched in region 2")),
    );
}

#[test]
fn a_region_without_room_with_a_queue_or_long_unheard_of_is_left_out() {
    let regions = [
        HERE,
        region(1, 0, 0, 1),
        region(2, 9, 5, 1),
        Region { age_ms: 5001, ..region(3, 9, 0, 1) },
        region(4, 1, 4, 900),
    ];
    let scene = |regions| Scene {
        replicas: &[Replica { waiting: 1, ..HELD }],
        regions,
        seen_there: &[0, 10, 10, 10, 0],
        ..SCENE
    };
    check(scene(&regions), Some((Target::Region(4), "no room here: region 4 is the nearest, 0.9 ms away, no match")));
    check(scene(&regions[..4]), Some((Target::Hold, "no room here, nor in another region: held")));
}

const HELD: Replica = Replica {
    id: 0,
    region: 0,
    running: 1,
    waiting: 1,
    kv_blocks_used: 0,
    kv_blocks_total: 0,
    prefix_hit_permille: 0,
    health: headworks_policy::Health::Healthy,
    draining: false,
    role: 0,
    age_ms: 0,
    ttft_us: 0,
    tpot_us: 0,
    weight: 100,
    prefill_tokens: 0,
};

#[test]
fn what_was_forwarded_stays() {
    let regions = [HERE, region(1, 9, 0, 1)];
    let scene = || Scene { hop: Hop::Forwarded, regions: &regions, seen_there: &[0, 10], ..SCENE };
    check(
        Scene { replicas: &[HELD], ..scene() },
        Some((Target::Hold, "no room here, and it was forwarded once already: held")),
    );
    check(
        Scene { replicas: &[HELD, replica(1, 0, 0)], ..scene() },
        Some((Target::Replica(1), "local: 1 has the least load 0 of 1 with room, no match")),
    );
    check(scene(), None);
}

#[test]
fn nobody_waits_where_nobody_can_come() {
    check(SCENE, None);
    check(Scene { replicas: &[Replica { draining: true, ..HELD }], regions: &[HERE], ..SCENE }, None);
    check(
        Scene { regions: &[HERE, region(1, 0, 0, 1)], ..SCENE },
        Some((Target::Hold, "no room here, nor in another region: held")),
    );
}

#[test]
fn replicas_of_another_region_are_not_local() {
    let replicas = [Replica { region: 1, ..replica(0, 0, 0) }, replica(1, 3, 0)];
    check(
        Scene { replicas: &replicas, seen: &[10, 0], regions: &[HERE, region(1, 1, 0, 1)], ..SCENE },
        Some((Target::Replica(1), "local: 1 has the least load 3 of 1 with room, no match")),
    );
}

proptest! {
    #[test]
    fn a_target_always_has_room_and_local_comes_first(
        rows in proptest::collection::vec((0_u32..4, 0_u32..3, any::<bool>(), 0_u32..11), 0..8),
        there in proptest::collection::vec((0_u32..2, 0_u32..8, 0_u32..100, 0_u32..11), 0..4),
        forwarded in any::<bool>(),
    ) {
        let replicas: Vec<Replica> = (0..)
            .zip(&rows)
            .map(|(id, (running, waiting, draining, _))| Replica { draining: *draining, ..replica(id, *running, *waiting) })
            .collect();
        let mut regions = vec![HERE];
        regions.extend((1..).zip(&there).map(|(id, (available, queue, rtt_us, _))| region(id, *available, *queue, *rtt_us)));
        let held = rows.iter().map(|row| row.3).collect();
        let held_there = std::iter::once(0).chain(there.iter().map(|row| row.3)).collect();
        let hop = if forwarded { Hop::Forwarded } else { Hop::First };
        let picked = pick(
            &Fleet::of(&replicas, &regions),
            hop,
            &Config::default(),
            || Prefix { blocks: 10, held },
            || Prefix { blocks: 10, held: held_there },
            |_| 0,
        );
        let free = |replica: &Replica| !replica.draining && replica.waiting == 0;
        let open = |region: &Region| !region.local && region.available > 0 && region.queue <= 4;
        match picked.map(|(target, _)| target) {
            Some(Target::Replica(id)) => prop_assert!(free(&replicas[id as usize])),
            Some(Target::Region(id)) => {
                prop_assert!(!forwarded && open(&regions[id as usize]) && !replicas.iter().any(free));
            }
            Some(Target::Hold) | None => {
                prop_assert!(!replicas.iter().any(free) && (forwarded || !regions.iter().any(open)));
            }
        }
    }
}
