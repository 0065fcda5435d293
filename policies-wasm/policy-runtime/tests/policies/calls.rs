//! Calls of loaded components: answers, words, faults, and what comes after a fault.

use std::sync::Arc;

use crate::support::{
    Guest, HOLD, Memory, PASS, admit, configured, fleet, load, patient, place, place_of, placing, replica, runtime,
};
use policy_api::{Admission, Denial, Event, Hook, Mode, Placement, Policy, PolicyFault, ReplicaId, Subject};
use policy_runtime::{Limits, Runtime};

/// Traps when the request's id is 13, loops at 14, grows at 15; else places on replica 1.
fn moody() -> Guest {
    let code = format!(
        r#"(local.set $n (i32.wrap_i64 (call $id (local.get $request))))
           (if (i32.eq (local.get $n) (i32.const 13)) (then unreachable))
           (if (i32.eq (local.get $n) (i32.const 14)) (then (loop $again (br $again))))
           (if (i32.eq (local.get $n) (i32.const 15)) (then (drop (memory.grow (i32.const 2000)))))
           {}"#,
        replica(1)
    );
    Guest { body: format!("{ID}\n{}", place_of(&code)), ..placing("") }
}

const ID: &str =
    r#"(import "headworks:policy/request@0.1.0" "[method]request.id" (func $id (param i32) (result i64)))"#;

#[track_caller]
fn check(code: &str, expected: Placement) {
    let runtime = runtime(patient());
    let policy = load(&runtime, &placing(code)).unwrap();
    assert_eq!(place(&policy, 1, &fleet(1, &[1])).unwrap().verdict, expected);
}

#[test]
fn every_placement_arrives_as_it_was_meant() {
    check(&replica(7), Placement::Replica(ReplicaId(7)));
    check("(i32.store (i32.const 1028) (i32.const 3)) (i32.const 1)", Placement::Region(policy_api::RegionId(3)));
    check(HOLD, Placement::Hold);
    check(PASS, Placement::Pass);
    let reject = r#"(i32.store16 (i32.const 1028) (i32.const 429))
        (i32.store8 (i32.const 1032) (i32.const 1)) (i32.store (i32.const 1036) (i32.const 1500))
        (i32.store (i32.const 1040) (i32.const 64)) (i32.store (i32.const 1044) (i32.const 5))
        (i32.const 3)"#;
    let denial = Denial { status: 429, retry_after_ms: Some(1500), message: "1.2.3".to_owned() };
    check(reject, Placement::Reject(denial));
}

#[test]
fn a_component_says_who_it_is() {
    let runtime = runtime(patient());
    let guest = Guest { schema: r#"{"type":"object"}"#, ..configured() };
    let policy = load(&runtime, &guest).unwrap();
    let described = policy.describe();
    assert_eq!((described.name.as_str(), described.version.as_str()), ("guest", "1.2.3"));
    assert_eq!((described.hooks.as_slice(), described.mode), (&[Hook::Configure, Hook::Place][..], Mode::Pooled));
    assert_eq!(described.config_schema, r#"{"type":"object"}"#);
    assert_eq!(policy.bytes(), guest.bytes().len());
    assert_eq!(policy.digest().len(), "sha256:".len() + 64);
}

#[test]
fn a_hook_that_is_not_there_is_a_fault() {
    let runtime = runtime(patient());
    let policy = load(&runtime, &placing(PASS)).unwrap();
    let fleet = fleet(1, &[]);
    assert_eq!(admit(&policy, 1, &fleet), Err(PolicyFault::NoHook { hook: Hook::Admit }));
    assert_eq!(policy.observe(0, &fleet, &[]), Err(PolicyFault::NoHook { hook: Hook::Observe }));
}

#[test]
fn admit_and_observe_are_called_too() {
    let body = r#"
        (import "headworks:policy/telemetry@0.1.0" "count" (func $count (param i32 i32 i64)))
        (func (export "headworks:policy/admit@0.1.0#admit") (param $request i32) (result i32)
          (i32.store8 (i32.const 1024) (i32.const 0))
          (call $drop (local.get $request)) (i32.const 1024))
        (func (export "headworks:policy/observe@0.1.0#observe") (param i32 i32)
          (call $count (i32.const 0) (i32.const 5) (i64.extend_i32_u (local.get 1))))"#;
    let guest = Guest {
        worlds: vec!["described", "admitting", "observing"],
        hooks: vec![1, 3],
        body: body.to_owned(),
        ..Guest::default()
    };
    let memory = Arc::new(Memory::default());
    let runtime = Runtime::new(patient(), Arc::clone(&memory) as Arc<_>, 7).unwrap();
    let policy = load(&runtime, &guest).unwrap();
    let fleet = fleet(1, &[]);
    assert_eq!(admit(&policy, 1, &fleet).unwrap().verdict, Admission::Allow);
    let events =
        [Event::ReplicaUp(ReplicaId(1)), Event::Started { subject: Subject::default(), replica: ReplicaId(1) }];
    policy.observe(0, &fleet, &events).unwrap();
    assert_eq!(*memory.lines.lock().unwrap(), ["placement guest += 2"], "the self-check left no trace");
}

#[test]
fn after_each_fault_the_next_call_works() {
    let runtime = runtime(Limits { call_deadline_ms: 100, ..patient() });
    let policy = load(&runtime, &moody()).unwrap();
    let fleet = fleet(1, &[1]);
    let fine = || assert_eq!(place(&policy, 1, &fleet).unwrap().verdict, Placement::Replica(ReplicaId(1)));
    fine();
    let fault = |request| place(&policy, request, &fleet).unwrap_err();
    assert!(matches!(fault(13), PolicyFault::Trapped { message } if message.contains("unreachable")));
    fine();
    assert_eq!(fault(14), PolicyFault::DeadlinePassed { deadline_ms: 100 });
    fine();
    assert_eq!(fault(15), PolicyFault::OutOfMemory { memory_bytes_max: 64 << 20 });
    fine();
    let instances = policy.instances();
    assert_eq!((instances.busy, instances.max), (0, Limits::default().instances_max), "spent instances leave the pool");
    let faults = policy.faults();
    assert_eq!((faults.trapped, faults.deadline_passed, faults.out_of_memory, faults.total()), (1, 1, 1, 3));
}

#[test]
fn with_fuel_a_loop_ends_without_a_clock() {
    let runtime = runtime(Limits { fuel_max: Some(10_000), ..patient() });
    let policy = load(&runtime, &moody()).unwrap();
    let fleet = fleet(1, &[1]);
    assert_eq!(place(&policy, 14, &fleet), Err(PolicyFault::OutOfFuel { fuel_max: 10_000 }));
    assert!(place(&policy, 1, &fleet).is_ok());
}

#[test]
fn with_fuel_beside_the_deadlines_both_guard_a_call_and_what_it_used_is_told() {
    let tank = |fuel_max| {
        let limits =
            Limits { fuel_max: Some(fuel_max), deadlines_beside_fuel: true, call_deadline_ms: 100, ..patient() };
        load(&runtime(limits), &moody()).unwrap()
    };
    let fleet = fleet(1, &[1]);
    let small = tank(10_000);
    assert_eq!(place(&small, 14, &fleet), Err(PolicyFault::OutOfFuel { fuel_max: 10_000 }));
    assert!(place(&small, 1, &fleet).unwrap().words.fuel.is_some_and(|fuel| (1..10_000).contains(&fuel)));
    let endless = tank(u64::MAX / 2);
    assert_eq!(place(&endless, 14, &fleet), Err(PolicyFault::DeadlinePassed { deadline_ms: 100 }));
}

#[test]
fn a_reason_is_carried_and_cut_and_not_carried_over() {
    // Explains with as many letters as the request's id says, and with nothing for 1.
    let code = format!(
        r#"(local.set $n (i32.wrap_i64 (call $id (local.get $request))))
           (if (i32.gt_u (local.get $n) (i32.const 1))
             (then (memory.fill (i32.const 4096) (i32.const 97) (local.get $n))
                   (call $explain (i32.const 4096) (local.get $n))))
           {PASS}"#
    );
    let explain = r#"(import "headworks:policy/telemetry@0.1.0" "explain" (func $explain (param i32 i32)))"#;
    let guest = Guest { body: format!("{ID}\n{explain}\n{}", place_of(&code)), ..placing("") };
    let limits = Limits { reason_bytes_max: 10, ..patient() };
    let policy = load(&runtime(limits), &guest).unwrap();
    let fleet = fleet(1, &[]);
    let reason = |request| place(&policy, request, &fleet).unwrap().words.reason;
    assert_eq!(reason(3), Some("aaa".to_owned()));
    assert_eq!(reason(99), Some("a".repeat(10)));
    assert_eq!(reason(1), None);
}

/// Places on the replica whose number is the host counter's value before this call.
fn counting() -> Guest {
    let count = r#"(import "headworks:policy/buckets@0.1.0" "count" (func $count (param i32 i32 i64 i32)))"#;
    let code = "(call $count (i32.const 0) (i32.const 5) (i64.const 1) (i32.const 2048))
        (i32.store (i32.const 1028) (i32.load (i32.const 2056))) (i32.const 0)";
    Guest { body: format!("{count}\n{}", place_of(code)), ..placing("") }
}

#[test]
fn what_the_host_keeps_survives_traps_and_swaps_and_is_each_slots_own() {
    let runtime = runtime(patient());
    let fleet = fleet(1, &[0]);
    let at = |policy: &dyn Policy| match place(policy, 1, &fleet).unwrap().verdict {
        Placement::Replica(ReplicaId(id)) => id,
        other => panic!("{other:?}"),
    };
    let first = load(&runtime, &counting()).unwrap();
    assert_eq!((at(&first), at(&first)), (0, 1), "the self-check counted elsewhere");
    let second = runtime.load("placement", &counting().bytes(), "", Some(&first)).unwrap();
    assert_eq!((at(&second), at(&first), at(&second)), (2, 3, 4));
    assert_eq!(runtime.slot_use("placement").unwrap().buckets, 1);
    assert_eq!(runtime.slot_use("nobody's"), None);
    let other = runtime.load("other", &counting().bytes(), "", None).unwrap();
    assert_eq!(at(&other), 0);
}

#[test]
fn a_guest_sees_another_fleet_version_exactly_when_the_fleet_is_another() {
    let version = r#"(import "headworks:policy/fleet@0.1.0" "version" (func $version (result i64)))"#;
    let code = "(i32.store (i32.const 1028) (i32.wrap_i64 (call $version))) (i32.const 0)";
    let guest = Guest { body: format!("{version}\n{}", place_of(code)), ..placing("") };
    let limits = Limits { instances_max: 1, ..patient() };
    let policy = load(&runtime(limits), &guest).unwrap();
    let seen = |fleet: &Arc<policy_api::FleetView>| match place(&policy, 1, fleet).unwrap().verdict {
        Placement::Replica(ReplicaId(version)) => version,
        other => panic!("{other:?}"),
    };
    let (one, same_version, next) = (fleet(1, &[1]), fleet(1, &[1, 2]), fleet(2, &[1]));
    let first = seen(&one);
    assert_eq!(seen(&one), first);
    assert_ne!(seen(&same_version), first, "a view changed for one request keeps its version and is another view");
    let second = seen(&next);
    assert_ne!(second, first);
    assert_eq!(seen(&next), second);
}

#[test]
fn chance_follows_from_the_seed_the_request_and_the_fleet() {
    let below = r#"(import "headworks:policy/chance@0.1.0" "below" (func $below (param i32) (result i32)))"#;
    let code = "(i32.store (i32.const 1028) (call $below (i32.const 1000000))) (i32.const 0)";
    let guest = Guest { body: format!("{below}\n{}", place_of(code)), ..placing("") };
    let draw = |request, version| {
        let policy = load(&runtime(patient()), &guest).unwrap();
        place(&policy, request, &fleet(version, &[])).unwrap().verdict
    };
    assert_eq!(draw(1, 1), draw(1, 1));
    assert_ne!(draw(1, 1), draw(2, 1));
    assert_ne!(draw(1, 1), draw(1, 2));
}

/// Counts its calls in its own memory, and carries the count over a swap.
fn remembering() -> Guest {
    let body = format!(
        r#"(global $calls (mut i32) (i32.const 0))
        (func (export "headworks:policy/snapshot@0.1.0#snapshot") (result i32)
          (i32.store (i32.const 3072) (global.get $calls))
          (i32.store (i32.const 3080) (i32.const 3072)) (i32.store (i32.const 3084) (i32.const 4))
          (i32.const 3080))
        (func (export "headworks:policy/snapshot@0.1.0#restore") (param i32 i32) (result i32)
          (global.set $calls (i32.load (local.get 0)))
          (i32.store8 (i32.const 3100) (i32.const 0)) (i32.const 3100))
        {}"#,
        place_of(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (i32.store (i32.const 1028) (global.get $calls)) (i32.const 0)"
        )
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
fn a_single_policys_state_goes_over_to_its_successor() {
    let runtime = runtime(patient());
    let fleet = fleet(1, &[]);
    let calls = |policy: &dyn Policy| match place(policy, 1, &fleet).unwrap().verdict {
        Placement::Replica(ReplicaId(calls)) => calls,
        other => panic!("{other:?}"),
    };
    let first = load(&runtime, &remembering()).unwrap();
    assert_eq!((calls(&first), calls(&first)), (1, 2), "one instance; the self-check's calls do not count");
    let second = runtime.load("placement", &remembering().bytes(), "", Some(&first)).unwrap();
    assert_eq!(calls(&second), 3);
    assert_eq!(first.snapshot().unwrap(), 2_u32.to_le_bytes());
    let fresh = load(&runtime, &remembering()).unwrap();
    assert_eq!(calls(&fresh), 1);
}
