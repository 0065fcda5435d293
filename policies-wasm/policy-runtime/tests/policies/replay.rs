//! Recordings of policies that keep state, read prompts, and fail.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use policy_api::{Call, Policy, RequestFacts};
use policy_runtime::{
    Component, Limits, Runtime,
    replay::{Options, Report, replay},
};

use crate::{
    recorder::{Recorder, read},
    support::{Guest, fleet, patient, place, place_of, placing, replica},
};

/// Places each request one further, and tells how far it is.
fn counting() -> Guest {
    let body = format!(
        r#"(global $count (mut i32) (i32.const 0))
        (func (export "headworks:policy/snapshot@0.1.0#snapshot") (result i32)
          (i32.store (i32.const 3072) (global.get $count))
          (i32.store (i32.const 3080) (i32.const 3072)) (i32.store (i32.const 3084) (i32.const 4))
          (i32.const 3080))
        (func (export "headworks:policy/snapshot@0.1.0#restore") (param i32 i32) (result i32)
          (global.set $count (i32.load (local.get 0)))
          (i32.store8 (i32.const 3100) (i32.const 0)) (i32.const 3100))
        {}"#,
        place_of(
            "(global.set $count (i32.add (global.get $count) (i32.const 1)))
             (i32.store (i32.const 1028) (global.get $count)) (i32.const 0)"
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

fn theatre(limits: Limits) -> (Arc<Recorder>, Runtime) {
    let recorder = Arc::new(Recorder::default());
    let runtime = Runtime::new(limits, Arc::clone(&recorder) as Arc<_>, 7).unwrap();
    (recorder, runtime)
}

fn again(file: &str) -> Report {
    replay(&read(file), &Options::default()).unwrap()
}

/// Some calls before the recording begins, and some while it is written.
fn counted() -> String {
    let (recorder, runtime) = theatre(patient());
    let policy = runtime.load("placement", &counting().bytes(), "", None).unwrap();
    let fleet = fleet(1, &[1]);
    let ask = |policy: &Component, calls: u64| (0..calls).for_each(|id| drop(place(policy, id, &fleet).unwrap()));
    ask(&policy, 5);
    recorder.is_on.store(true, Relaxed);
    ask(&policy, 10);
    // A successor begins with what its predecessor knew.
    let successor = runtime.load("placement", &counting().bytes(), "", Some(&policy)).unwrap();
    ask(&successor, 3);
    recorder.file(runtime.limits(), false)
}

fn without(file: &str, wanted: impl Fn(&str) -> bool) -> String {
    let at = file.lines().position(wanted).unwrap();
    file.lines().enumerate().filter(|(n, _)| *n != at).map(|(_, line)| line.to_owned() + "\n").collect()
}

#[test]
fn a_policy_that_keeps_state_is_replayed_from_where_it_was() {
    let file = counted();
    let report = again(&file);
    assert_eq!((report.calls, report.same), (13, 13), "{report:#?}");
    assert!(file.contains(r#"{"replica":6}"#) && file.contains(r#"{"replica":18}"#), "{file}");
}

#[test]
fn calls_that_are_missing_make_the_state_unknown() {
    let file = counted();
    let nth = |wanted: &str| {
        let wanted = wanted.to_owned();
        move |line: &str| line.contains(&wanted)
    };
    let report = again(&without(&file, nth(r#"{"replica":9}"#)));
    assert_eq!((report.calls, report.same, report.differ), (12, 6, 0), "{report:#?}");
    assert!(report.not_replayed.keys().next().unwrap().contains("keeps state"), "{report:#?}");
    let report = again(&without(&file, nth(r#""hook":"snapshot""#)));
    assert_eq!((report.calls, report.same, report.differ), (13, 3, 0), "{report:#?}");
}

#[test]
fn a_policy_that_reads_prompts_is_replayed_only_where_they_were_recorded() {
    let prompt =
        r#"(import "headworks:policy/request@0.1.0" "[method]request.prompt" (func $prompt (param i32 i32 i32 i32)))"#;
    let code = "(call $prompt (local.get $request) (i32.const 0) (i32.const 1) (i32.const 2048))
        (i32.store (i32.const 1028) (i32.load8_u (i32.load (i32.const 2048)))) (i32.const 0)";
    let guest = Guest { body: format!("{prompt}\n{}", place_of(code)), ..placing("") };
    let (recorder, runtime) = theatre(patient());
    let policy = runtime.load("placement", &guest.bytes(), "", None).unwrap();
    let (fleet, facts) =
        (fleet(1, &[1]), Arc::new(RequestFacts { prompt: vec![b'h', b'i'].into(), ..RequestFacts::default() }));
    recorder.is_on.store(true, Relaxed);
    let record = |prompts| {
        policy.place(&Call { now_ms: 5, facts: &facts, fleet: &fleet }).unwrap();
        again(&recorder.file(runtime.limits(), prompts))
    };
    let withheld = record(false);
    assert!(!withheld.is_exact(), "{withheld:#?}");
    let why = withheld.not_replayed.keys().next().unwrap();
    assert!(why.starts_with("prompts were not recorded"), "{why}");
    assert!(record(true).is_exact());
}

#[test]
fn a_trap_traps_again_and_a_deadline_is_left_out() {
    let id = r#"(import "headworks:policy/request@0.1.0" "[method]request.id" (func $id (param i32) (result i64)))"#;
    let code = format!(
        r#"(local.set $n (i32.wrap_i64 (call $id (local.get $request))))
           (if (i32.eq (local.get $n) (i32.const 13)) (then unreachable))
           (if (i32.eq (local.get $n) (i32.const 14)) (then (loop $again (br $again))))
           (if (i32.eq (local.get $n) (i32.const 15)) (then (drop (memory.grow (i32.const 2000)))))
           {}"#,
        replica(1)
    );
    let guest = Guest { body: format!("{id}\n{}", place_of(&code)), ..placing("") };
    let (recorder, runtime) = theatre(Limits { call_deadline_ms: 50, ..patient() });
    let policy = runtime.load("placement", &guest.bytes(), "", None).unwrap();
    recorder.is_on.store(true, Relaxed);
    let fleet = fleet(1, &[1]);
    for id in 11..17 {
        assert_eq!(place(&policy, id, &fleet).is_err(), (13..16).contains(&id));
    }
    let report = again(&recorder.file(runtime.limits(), false));
    assert_eq!((report.calls, report.same, report.differ), (6, 5, 0), "{report:#?}");
    assert!(report.not_replayed.keys().next().unwrap().contains("deadline"), "{report:#?}");
}

/// It logs as much as it may, and asks more than is kept of one call.
#[test]
fn what_one_call_may_say_in_a_recording_is_bounded() {
    let level = r#"(import "headworks:policy/buckets@0.1.0" "held" (func $held (param i32 i32) (result i32)))"#;
    let code = format!(
        "(loop $again
           (drop (call $held (i32.const 0) (i32.const 5)))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $n) (i32.const 100))))
         {}",
        replica(1)
    );
    let guest = Guest { body: format!("{level}\n{}", place_of(&code)), ..placing("") };
    let (recorder, runtime) = theatre(Limits { heard_max: 99, ..patient() });
    let policy = runtime.load("placement", &guest.bytes(), "", None).unwrap();
    recorder.is_on.store(true, Relaxed);
    place(&policy, 1, &fleet(1, &[1])).unwrap();
    let file = recorder.file(runtime.limits(), false);
    assert_eq!(file.matches(r#""ask""#).count(), 99);
    let report = again(&file);
    assert!(report.not_replayed.keys().next().unwrap().contains("more than a recording keeps"), "{report:#?}");
}
