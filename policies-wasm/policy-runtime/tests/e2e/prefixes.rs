//! The policies that look at prompts, with the host's prefix index.

use policy_api::{Event, ReplicaId, ReplicaRow};

use crate::support::{fleet, load, load_after, loaded, prompt, row, runtime, target, tell};

const BY_PREFIX: [&str; 3] = ["prefix-tree", "kv-cost", "lmetric"];

#[test]
fn the_same_prefix_goes_to_the_same_replica_across_a_swap() {
    let fleet = loaded(1, &[1, 1, 1, 1]);
    for name in BY_PREFIX {
        let runtime = runtime();
        let policy = load(&runtime, name, "");
        let (home, _) = target(&policy, prompt(1, b'a', 8), &fleet);
        for id in 2..20 {
            assert_eq!(target(&policy, prompt(id, b'a', 8), &fleet).0, home, "{name}");
        }
        let successor = load_after(&runtime, name, "", Some(&policy));
        let (again, why) = target(&successor, prompt(20, b'a', 9), &fleet);
        assert_eq!(again, home, "{name}: {why}");
    }
}

#[test]
fn prefix_tree_breaks_off_when_the_loads_are_too_far_apart() {
    for (config, load_before, load_after, why) in [
        ("", 16, 17, "too busy where 8 of 8 blocks matched"),
        (r#"{"mode":"sglang"}"#, 64, 66, "imbalance, up to 66"),
        (r#"{"mode":"aibrix"}"#, 8, 9, "imbalance, up to 9"),
    ] {
        let policy = load(&runtime(), "prefix-tree", config);
        let home = target(&policy, prompt(1, b'a', 8), &loaded(1, &[0, 5])).0;
        assert_eq!(home, 0);
        let (still, reason) = target(&policy, prompt(2, b'a', 8), &loaded(2, &[load_before, 0]));
        assert_eq!(still, 0, "{config}: {reason}");
        let (other, reason) = target(&policy, prompt(3, b'a', 8), &loaded(3, &[load_after, 0]));
        assert_eq!(other, 1, "{config}: {reason}");
        assert!(reason.ends_with(why), "{reason}");
        // Now both have seen it, and the less loaded of them is taken.
        assert_eq!(target(&policy, prompt(4, b'a', 8), &loaded(4, &[3, 1])).0, 1, "{config}");
    }
}

#[test]
fn a_replica_that_went_down_comes_back_with_an_empty_cache() {
    for name in BY_PREFIX {
        let policy = load(&runtime(), name, "");
        assert_eq!(target(&policy, prompt(1, b'a', 8), &loaded(1, &[0, 3])).0, 0, "{name}");
        let (still, why) = target(&policy, prompt(2, b'a', 8), &loaded(2, &[1, 0]));
        assert_eq!(still, 0, "{name}: {why}");
        tell(&policy, Event::ReplicaDown(ReplicaId(0)));
        let (other, why) = target(&policy, prompt(3, b'a', 8), &loaded(3, &[1, 0]));
        assert_eq!(other, 1, "{name}: {why}");
    }
}

#[test]
fn lmetric_multiplies_what_is_to_prefill_by_the_batch() {
    let policy = load(&runtime(), "lmetric", "");
    assert_eq!(target(&policy, prompt(1, b'a', 8), &loaded(1, &[0, 9])).0, 0);
    let queued = ReplicaRow { prefill_tokens: 700, ..row(0, 1) };
    let (id, why) = target(&policy, prompt(2, b'a', 8), &fleet(2, &[queued, row(1, 1)]));
    assert_eq!(
        (id, why.as_str()),
        (1, "least product 1024 on 1: 512 tokens to prefill (512 of this prompt) × batch 2")
    );
}

#[test]
fn kv_cost_weighs_cache_hits_against_blocks_in_use() {
    let policy = load(&runtime(), "kv-cost", "");
    assert_eq!(target(&policy, prompt(1, b'a', 8), &loaded(1, &[0, 9])).0, 0);
    // 512 tokens are 32 blocks; replica 0 has them cached.
    let at = |used: [u32; 2]| {
        [ReplicaRow { kv_blocks_used: used[0], ..row(0, 1) }, ReplicaRow { kv_blocks_used: used[1], ..row(1, 1) }]
    };
    let (id, why) = target(&policy, prompt(2, b'a', 8), &fleet(2, &at([41, 10])));
    assert_eq!((id, why.as_str()), (0, "least cost 41.0 on 0: 0.0 blocks to prefill, 41 at decode"));
    let (id, why) = target(&policy, prompt(3, b'a', 8), &fleet(3, &at([43, 10])));
    assert_eq!((id, why.as_str()), (1, "least cost 42.0 on 1: 32.0 blocks to prefill, 10 at decode"));
}

#[test]
fn kv_cost_with_a_temperature_spreads_and_replays() {
    let policy = load(&runtime(), "kv-cost", r#"{"temperature":1}"#);
    let fleet = loaded(1, &[1, 2, 3]);
    let targets = || (0..60).map(|id| target(&policy, prompt(id, b'a', 0), &fleet).0).collect::<Vec<u32>>();
    let first = targets();
    assert!((0..3).all(|id| first.contains(&id)), "{first:?}");
    assert_eq!(targets(), first, "the same requests draw the same");
}
