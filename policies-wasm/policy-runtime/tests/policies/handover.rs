//! Successors of `single` policies: what they know, and that no call is lost between the two.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use crate::support::{Guest, Memory, fleet, load, patient, place, place_of, runtime};
use policy_api::{Placement, Policy, ReplicaId};
use policy_runtime::{Beginning, Component, Limits, Runtime};

const THREADS: u64 = 8;
const SWAPS: usize = 60;

/// Counts its calls in its own memory and tells the count; `restore` runs this code on `(local.get 0)`, the snapshot's
/// address, and leaves 0 for taken or 1 for refused behind.
fn counting(name: &'static str, restore: &str) -> Guest {
    let body = format!(
        r#"(global $calls (mut i32) (i32.const 0))
        (func (export "headworks:policy/snapshot@0.1.0#snapshot") (result i32)
          (i32.store (i32.const 3072) (global.get $calls))
          (i32.store (i32.const 3080) (i32.const 3072)) (i32.store (i32.const 3084) (i32.const 4))
          (i32.const 3080))
        (func (export "headworks:policy/snapshot@0.1.0#restore") (param i32 i32) (result i32)
          (i32.store (i32.const 3104) (i32.const 64)) (i32.store (i32.const 3108) (i32.const 5))
          (i32.store8 (i32.const 3100) (block (result i32) {restore})) (i32.const 3100))
        {}"#,
        place_of(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (i32.store (i32.const 1028) (global.get $calls)) (i32.const 0)"
        )
    );
    let worlds = vec!["described", "placing", "restorable"];
    Guest { name, worlds, hooks: vec![2, 4], single: true, body, ..Guest::default() }
}

const TAKES: &str = "(global.set $calls (i32.load (local.get 0))) (i32.const 0)";
/// Takes what it made itself in the self-check, which is 4 calls, and no more.
const REFUSES_MORE: &str = "(global.set $calls (i32.const 77)) (i32.gt_u (i32.load (local.get 0)) (i32.const 4))";
const TRAPS_AT_MORE: &str = "(if (i32.gt_u (i32.load (local.get 0)) (i32.const 4)) (then unreachable)) (i32.const 0)";

fn count(policy: &dyn Policy) -> u32 {
    match place(policy, 1, &fleet(1, &[])).unwrap().verdict {
        Placement::Replica(ReplicaId(count)) => count,
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_call_of_a_single_policy_is_lost_or_counted_twice_while_it_is_swapped() {
    let runtime = runtime(Limits { single_wait_ms: 60_000, snapshot_deadline_ms: 10_000, ..patient() });
    let bytes = counting("counts", TAKES).bytes();
    let active = Mutex::new(Arc::new(runtime.load("placement", &bytes, "", None).unwrap()));
    let done = AtomicBool::new(false);
    let calls = AtomicU64::new(0);
    let mut counts: Vec<u32> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (active, done, calls) = (&active, &done, &calls);
                scope.spawn(move || {
                    let mut counts = Vec::new();
                    while !done.load(SeqCst) {
                        // Some callers keep the chain of before for a few calls, as requests do.
                        let policy = Arc::clone(&active.lock().unwrap());
                        counts.extend((0..=thread % 4).map(|_| count(&*policy)));
                        calls.fetch_add(1, SeqCst);
                    }
                    counts
                })
            })
            .collect();
        for swap in 0..SWAPS {
            let predecessor = Arc::clone(&active.lock().unwrap());
            let prepared = match swap % 3 {
                // Back to one that is there already, as a rollback does.
                0 => predecessor.again(None).unwrap(),
                _ => runtime.prepare("placement", &bytes, "").unwrap(),
            };
            let (next, handover) = prepared.take_over(Some(&predecessor)).unwrap();
            assert_eq!(*handover.beginning(), Beginning::Informed { bytes: 4 });
            let next = Arc::new(next);
            *active.lock().unwrap() = Arc::clone(&next);
            handover.finish(&next);
            let before = calls.load(SeqCst);
            while calls.load(SeqCst) < before + 2 {
                std::thread::yield_now();
            }
        }
        done.store(true, SeqCst);
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    counts.sort_unstable();
    let expected: Vec<u32> = (1..=counts.len() as u32).collect();
    assert!(counts == expected, "each call has a number of its own, none is missing");
}

#[test]
fn a_handover_that_is_given_up_leaves_the_predecessor_at_work() {
    let runtime = runtime(patient());
    let first = load(&runtime, &counting("counts", TAKES)).unwrap();
    assert_eq!(count(&first), 1);
    let (second, handover) = first.again(None).unwrap().take_over(Some(&first)).unwrap();
    drop(handover);
    assert_eq!((count(&first), count(&first), count(&second)), (2, 3, 2));
}

#[test]
fn a_canary_has_a_copy_and_its_predecessor_goes_on() {
    let runtime = runtime(patient());
    let first = load(&runtime, &counting("counts", TAKES)).unwrap();
    assert_eq!(count(&first), 1);
    let (canary, beginning) = first.again(None).unwrap().beside(&first).unwrap();
    assert_eq!(beginning, Beginning::Informed { bytes: 4 });
    assert_eq!((count(&canary), count(&first), count(&first)), (2, 2, 3));
}

/// How a successor begins after twenty calls of its predecessor, what it counts next, and what is logged.
fn succeeds(predecessor: &Guest, successor: &Guest) -> (Beginning, u32, Vec<String>) {
    let memory = Arc::new(Memory::default());
    let runtime = Runtime::new(patient(), Arc::clone(&memory) as Arc<_>, 7).unwrap();
    let first = load(&runtime, predecessor).unwrap();
    for _ in 0..20 {
        count(&first);
    }
    let prepared = runtime.prepare("placement", &successor.bytes(), "").unwrap();
    let (second, handover) = prepared.take_over(Some(&first)).unwrap();
    let beginning = handover.beginning().clone();
    let second: Arc<Component> = Arc::new(second);
    handover.finish(&second);
    let lines = memory.lines.lock().unwrap().clone();
    (beginning, count(&*second), lines)
}

#[track_caller]
fn begins_cold(successor: &Guest, because: &str) {
    let (beginning, counted, lines) = succeeds(&counting("counts", TAKES), successor);
    let Beginning::Cold { why } = beginning else { panic!("{beginning:?}") };
    assert!(why.contains(because), "{why}");
    assert_eq!(counted, 1);
    assert_eq!(lines, [format!("placement Warn: the policy starts empty: {why}")]);
}

#[test]
fn a_snapshot_is_only_for_a_policy_of_the_same_name() {
    begins_cold(&counting("other", TAKES), "is \"counts\", and what that knows is only for a policy of the same name");
}

#[test]
fn a_snapshot_that_is_refused_means_an_empty_start() {
    begins_cold(&counting("counts", REFUSES_MORE), "it refuses its predecessor's state: 1.2.3");
}

#[test]
fn a_snapshot_that_breaks_its_reader_means_an_empty_start() {
    begins_cold(&counting("counts", TRAPS_AT_MORE), "its predecessor's state broke it: policy trapped");
}

#[test]
fn a_successor_without_the_hook_starts_empty() {
    let pooled = Guest { single: false, ..counting("counts", TAKES) };
    begins_cold(&pooled, "no `single` policy with the snapshot hook");
}

#[test]
fn the_same_component_takes_another_configuration_without_being_compiled_again() {
    let plain = load(&runtime(patient()), &counting("counts", TAKES)).unwrap();
    let error = plain.again(Some(r#"{"a":1}"#)).unwrap_err();
    assert!(error.to_string().contains("takes none"), "{error}");
    assert_eq!(plain.again(Some("{}")).unwrap().digest(), plain.digest());
}
