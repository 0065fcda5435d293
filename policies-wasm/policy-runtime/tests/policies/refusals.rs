//! Components that must not be loaded, and the sentences their uploaders read.

use std::time::{Duration, Instant};

use crate::support::{Guest, PASS, configured, load, placing, runtime};
use policy_runtime::{Limits, LoadError};

fn limits() -> Limits {
    Limits { load_deadline_ms: 50, ..Limits::default() }
}

/// The sentence that the bytes are refused with.
#[track_caller]
fn refusal_of_bytes(bytes: &[u8]) -> String {
    match runtime(limits()).load("placement", bytes, "", None) {
        Ok(component) => panic!("loaded {component:?}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn refusal(guest: &Guest) -> String {
    refusal_of_bytes(&guest.bytes())
}

#[test]
fn bytes_that_are_no_component() {
    let whole = placing(PASS).bytes();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    let too_large = vec![0; limits().component_bytes_max + 1];
    let table = [
        ("nothing", refusal_of_bytes(b"")),
        ("garbage", refusal_of_bytes(b"GIF89a and so on")),
        ("text", refusal_of_bytes(b"(component)")),
        ("header only", refusal_of_bytes(&whole[..4])),
        ("truncated", refusal_of_bytes(&whole[..whole.len() - 100])),
        ("core module", refusal_of_bytes(&wat::parse_str("(module)").unwrap())),
        ("too large", refusal_of_bytes(&too_large)),
        ("empty component", refusal_of_bytes(&wat::parse_str("(component)").unwrap())),
    ];
    let lines: Vec<String> = table.iter().map(|(name, refusal)| format!("{name}: {refusal}")).collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert!(refusal_of_bytes(&damaged).starts_with("this is not a WebAssembly component: "));
}

#[test]
fn components_of_another_contract() {
    let place = || placing(PASS);
    let newer =
        Guest { edits: vec![("package headworks:policy@0.1.0;", "package headworks:policy@0.2.0;")], ..place() };
    let liar = Guest { contract: "headworks:policy@0.9.0", ..place() };
    let wasi = Guest {
        extra_imports: "import wasi:clocks/wall-clock@0.2.0;",
        body: format!(
            "(import \"wasi:clocks/wall-clock@0.2.0\" \"now\" (func $now (result i64)))\n{}",
            crate::support::place_of(&format!("(drop (call $now)) {PASS}"))
        ),
        ..place()
    };
    let stranger = Guest {
        extra_imports: "import outside: func();",
        body: format!(
            "(import \"$root\" \"outside\" (func $outside))\n{}",
            crate::support::place_of(&format!("(call $outside) {PASS}"))
        ),
        ..place()
    };
    let wrong_import = Guest {
        edits: vec![("now-ms: func() -> u64;", "now-ms: func() -> u32;")],
        body: format!(
            "(import \"headworks:policy/clock@0.1.0\" \"now-ms\" (func $now (result i32)))\n{}",
            crate::support::place_of(&format!("(drop (call $now)) {PASS}"))
        ),
        ..place()
    };
    let wrong_answer = Guest {
        edits: vec![(
            "place: func(request: borrow<request>) -> placement;",
            "place: func(request: borrow<request>) -> u32;",
        )],
        ..place()
    };
    let table = [
        ("built against 0.2.0", refusal(&newer)),
        ("says it speaks 0.9.0", refusal(&liar)),
        ("imports WASI", refusal(&wasi)),
        ("imports a stranger", refusal(&stranger)),
        ("imports with another type", refusal(&wrong_import)),
        ("exports with another type", refusal(&wrong_answer)),
    ];
    let lines: Vec<String> = table.iter().map(|(name, refusal)| format!("{name}: {refusal}")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn components_that_do_not_say_well_who_they_are() {
    let silent = Guest { worlds: vec!["placing"], ..placing(PASS) };
    let idle = Guest::default();
    let boaster = Guest { hooks: vec![1, 2], ..placing(PASS) };
    let nameless = Guest { name: "", ..placing(PASS) };
    let spaced = Guest { name: "my policy", ..placing(PASS) };
    let schema = Guest { schema: "{", ..placing(PASS) };
    let unheard = Guest { schema: "{}", ..placing(PASS) };
    let table = [
        ("no describe", refusal(&silent)),
        ("no hook", refusal(&idle)),
        ("describes what it lacks", refusal(&boaster)),
        ("no name", refusal(&nameless)),
        ("a name with a space", refusal(&spaced)),
        ("a schema that is not JSON", refusal(&schema)),
        ("a schema, and no hook for what it describes", refusal(&unheard)),
    ];
    let lines: Vec<String> = table.iter().map(|(name, refusal)| format!("{name}: {refusal}")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn components_that_fail_their_self_check() {
    let traps = placing("unreachable");
    let last_words = Guest {
        body: format!(
            "(import \"headworks:policy/log@0.1.0\" \"log\" (func $log (param i32 i32 i32)))\n{}",
            crate::support::place_of("(call $log (i32.const 3) (i32.const 0) (i32.const 5)) unreachable")
        ),
        ..placing("")
    };
    let loops = placing("(loop $again (br $again)) unreachable");
    let hog = placing("(drop (memory.grow (i32.const 2000))) (i32.const 4)");
    let huge = Guest { body: format!("(memory $more 4000)\n{}", crate::support::place_of(PASS)), ..placing("") };
    let starts_badly = Guest {
        body: format!("(func $start unreachable) (start $start)\n{}", crate::support::place_of(PASS)),
        ..placing("")
    };
    // Reject with status 200: the case at 1024, the status at 1028, no retry-after, an empty message.
    let polite = placing("(i32.store16 (i32.const 1028) (i32.const 200)) (i32.const 3)");
    let wild = placing("(i32.const 99)");
    let table = [
        ("traps", refusal(&traps)),
        ("traps with last words", refusal(&last_words)),
        ("loops", refusal(&loops)),
        ("grows too much", refusal(&hog)),
        ("begins too large", refusal(&huge)),
        ("traps at its start", refusal(&starts_badly)),
        ("rejects with status 200", refusal(&polite)),
        ("answers a case there is not", refusal(&wild)),
    ];
    let lines: Vec<String> = table.iter().map(|(name, refusal)| format!("{name}: {refusal}")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn configurations_that_cannot_be_given() {
    let runtime = runtime(limits());
    let plain = placing(PASS).bytes();
    let refusing = configured().bytes();
    let check = |component: &[u8], json: &str| match runtime.load("placement", component, json, None) {
        Ok(_) => "loaded".to_owned(),
        Err(error) => error.to_string(),
    };
    let table = [
        ("none for one that takes none", check(&plain, "")),
        ("an empty object for one that takes none", check(&plain, " { } ")),
        ("one for one that takes none", check(&plain, r#"{"a":1}"#)),
        ("not JSON", check(&refusing, "{a}")),
        ("not an object", check(&refusing, "[]")),
        ("refused by the policy", check(&refusing, r#"{"a":1}"#)),
        ("taken by the policy", check(&refusing, "{}")),
    ];
    let lines: Vec<String> = table.iter().map(|(name, outcome)| format!("{name}: {outcome}")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn an_endless_loop_is_ended_soon_after_its_deadline() {
    let runtime = runtime(limits());
    let started = Instant::now();
    let error = load(&runtime, &placing("(loop $again (br $again)) unreachable")).unwrap_err();
    assert!(matches!(error, LoadError::DidNotReturn { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20), "took {:?}", started.elapsed());
}

#[test]
fn there_are_no_more_slots_than_there_may_be() {
    let runtime = runtime(Limits { slots_max: 1, ..limits() });
    let component = placing(PASS).bytes();
    runtime.load("one", &component, "", None).unwrap();
    runtime.load("one", &component, "", None).unwrap();
    let error = runtime.load("two", &component, "", None).unwrap_err();
    assert_eq!(error, LoadError::TooManySlots { slots_max: 1 });
    runtime.forget("one");
    runtime.load("two", &component, "", None).unwrap();
}
