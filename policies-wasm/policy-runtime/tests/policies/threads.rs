//! Many threads call while components are swapped under them.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use crate::support::{Guest, fleet, load, patient, place, place_of, placing, replica, runtime};
use policy_api::{Placement, PolicyFault, ReplicaId};
use policy_runtime::{Component, Limits};

const THREADS: u64 = 8;

#[test]
fn no_call_fails_while_components_are_swapped() {
    let limits = patient();
    let runtime = runtime(limits);
    let versions: Vec<Vec<u8>> = (1..=2).map(|id| placing(&replica(id)).bytes()).collect();
    let active = Mutex::new(Arc::new(runtime.load("placement", &versions[0], "", None).unwrap()));
    let done = AtomicBool::new(false);
    let calls = AtomicU64::new(0);
    let fleet = fleet(1, &[1, 2]);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (active, done, calls, fleet) = (&active, &done, &calls, &fleet);
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    let policy = Arc::clone(&active.lock().unwrap());
                    let verdict = place(&*policy, thread, fleet).unwrap().verdict;
                    assert!(matches!(verdict, Placement::Replica(ReplicaId(1 | 2))), "{verdict:?}");
                    calls.fetch_add(1, SeqCst);
                }
            });
        }
        for swap in 0..20 {
            let predecessor = Arc::clone(&active.lock().unwrap());
            let next = runtime.load("placement", &versions[swap % 2], "", Some(&predecessor)).unwrap();
            *active.lock().unwrap() = Arc::new(next);
        }
        // Each swap is followed by calls, the last one too.
        let swapped = calls.load(SeqCst);
        while calls.load(SeqCst) < swapped + THREADS {
            std::thread::yield_now();
        }
        done.store(true, SeqCst);
    });
    assert_eq!(active.into_inner().unwrap().faults().total(), 0);
}

/// Counts with the host; the sum must be exact whichever instance counted.
#[test]
fn a_counter_is_exact_across_instances() {
    let count = r#"(import "headworks:policy/buckets@0.1.0" "count" (func $count (param i32 i32 i64 i32)))"#;
    let code = "(call $count (i32.const 0) (i32.const 5) (i64.const 1) (i32.const 2048))
        (i32.store (i32.const 1028) (i32.load (i32.const 2056))) (i32.const 0)";
    let guest = Guest { body: format!("{count}\n{}", place_of(code)), ..placing("") };
    let limits = Limits { instances_max: 4, ..patient() };
    let policy = load(&runtime(limits), &guest).unwrap();
    let fleet = fleet(1, &[]);
    let mut turns: Vec<u32> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (policy, fleet) = (&policy, &fleet);
                scope.spawn(move || (0..200).map(|_| turn(policy, thread, fleet)).collect::<Vec<u32>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    turns.sort_unstable();
    assert_eq!(turns, (0..200 * THREADS as u32).collect::<Vec<u32>>());
}

fn turn(policy: &Component, request: u64, fleet: &Arc<policy_api::FleetView>) -> u32 {
    match place(policy, request, fleet).unwrap().verdict {
        Placement::Replica(ReplicaId(turn)) => turn,
        other => panic!("{other:?}"),
    }
}

/// One caller holds the only instance until its deadline; the other waits a bounded time and goes on without.
#[test]
fn a_call_that_finds_no_instance_in_time_is_a_fault() {
    let id = r#"(import "headworks:policy/request@0.1.0" "[method]request.id" (func $id (param i32) (result i64)))
        (import "headworks:policy/log@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
    let code = format!(
        r#"(if (i64.eq (call $id (local.get $request)) (i64.const 14))
             (then (call $log (i32.const 1) (i32.const 0) (i32.const 5)) (loop $again (br $again))))
           {}"#,
        replica(1)
    );
    let guest = Guest { body: format!("{id}\n{}", place_of(&code)), ..placing("") };
    let memory = Arc::new(crate::support::Memory::default());
    let limits =
        Limits { instances_max: 1, instances_ready: 1, call_deadline_ms: 300, instance_wait_ms: 1, ..patient() };
    let runtime = policy_runtime::Runtime::new(limits, Arc::clone(&memory) as Arc<_>, 7).unwrap();
    let policy = load(&runtime, &guest).unwrap();
    let fleet = fleet(1, &[]);
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| place(&policy, 14, &fleet));
        while memory.lines.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(place(&policy, 1, &fleet), Err(PolicyFault::NoInstance));
        assert_eq!(holder.join().unwrap(), Err(PolicyFault::DeadlinePassed { deadline_ms: 300 }));
    });
    assert!(place(&policy, 1, &fleet).is_ok());
    assert_eq!(policy.faults().no_instance, 1);
}

/// Its snapshot takes far longer than a call of a pooled policy would wait.
fn slow_to_tell() -> Guest {
    let body = format!(
        r#"(func (export "headworks:policy/snapshot@0.1.0#snapshot") (result i32)
          (local $n i32)
          (loop $again
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const 20000000))))
          (i32.store (i32.const 3080) (i32.const 3072)) (i32.store (i32.const 3084) (i32.const 4))
          (i32.const 3080))
        (func (export "headworks:policy/snapshot@0.1.0#restore") (param i32 i32) (result i32)
          (i32.store8 (i32.const 3100) (i32.const 0)) (i32.const 3100))
        {}"#,
        place_of(&replica(1))
    );
    Guest {
        worlds: vec!["described", "placing", "restorable"],
        hooks: vec![2, 4],
        single: true,
        body,
        ..Guest::default()
    }
}

#[test]
fn no_call_fails_while_a_single_policy_tells_its_successor_what_it_knows() {
    let limits = Limits { instance_wait_ms: 1, single_wait_ms: 20_000, snapshot_deadline_ms: 5000, ..patient() };
    let runtime = runtime(limits);
    let bytes = slow_to_tell().bytes();
    let first = runtime.load("placement", &bytes, "", None).unwrap();
    let done = AtomicBool::new(false);
    let fleet = fleet(1, &[1]);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (first, done, fleet) = (&first, &done, &fleet);
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    assert!(place(first, thread, fleet).is_ok());
                }
            });
        }
        let told: Vec<bool> = (0..3).map(|_| first.snapshot().is_ok()).collect();
        done.store(true, SeqCst);
        assert_eq!(told, [true; 3]);
    });
    assert_eq!(first.faults().total(), 0);
}

#[test]
fn more_calls_than_may_wait_are_faults_at_once() {
    let limits = Limits { instance_waiters_max: 0, single_wait_ms: 600_000, ..patient() };
    let memory = Arc::new(crate::support::Memory::default());
    let runtime = policy_runtime::Runtime::new(limits, Arc::clone(&memory) as Arc<_>, 7).unwrap();
    let log = r#"(import "headworks:policy/log@0.1.0" "log" (func $log (param i32 i32 i32)))
        (import "headworks:policy/request@0.1.0" "[method]request.id" (func $id (param i32) (result i64)))"#;
    let code = format!(
        "(if (i64.eq (call $id (local.get $request)) (i64.const 14))
           (then (call $log (i32.const 1) (i32.const 0) (i32.const 5)) (loop $again (br $again))))
         {}",
        replica(1)
    );
    let guest = Guest { body: format!("{log}\n{}", place_of(&code)), single: true, ..placing("") };
    let policy = load(&runtime, &guest).unwrap();
    let fleet = fleet(1, &[]);
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| place(&policy, 14, &fleet));
        while memory.lines.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(place(&policy, 1, &fleet), Err(PolicyFault::NoInstance));
        assert!(holder.join().unwrap().is_err());
    });
}
