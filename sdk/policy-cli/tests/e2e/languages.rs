//! Each language: what `policy new` makes builds at once and decides; the examples do; an exception is contained.

use std::path::Path;

use policy_api::{Hook, Placement, Policy, PolicyFault};

use crate::author::{Room, chosen, edit, load, place, policy, text};

/// The policy that was scaffolded decides, and with `broken` in it a request for one of these models costs that call
/// alone, and says where.
#[track_caller]
fn check(lang: &str, entry: &str, [before, broken]: [&str; 2], faults: &[(&str, &str)]) {
    let room = Room::new();
    let folder = room.scaffold("first-idle", lang);
    edit(&folder.join(entry), before, broken);
    let policy = load(&room.build(&folder).unwrap_or_else(|error| panic!("{error:#}")), "");
    assert_eq!(policy.describe().name, "first-idle");
    assert_eq!(policy.describe().hooks, [Hook::Place]);
    assert_eq!(chosen(place(&policy, &[3, 1, 2], "m", None).unwrap()), (2, "lowest load 1".to_owned()));
    assert_eq!(place(&policy, &[], "m", None).unwrap().verdict, Placement::Pass);
    for (model, last_words) in faults {
        let Err(PolicyFault::Trapped { message }) = place(&policy, &[1], model, None) else { panic!("it must trap") };
        assert!(message.contains(last_words), "{message}");
    }
    assert_eq!(chosen(place(&policy, &[3, 1], "m", None).unwrap()).0, 2, "the next call has a new instance");
}

#[test]
fn a_new_policy_in_rust() {
    check(
        "rust",
        "src/lib.rs",
        [
            "_request: &Request<'_>, fleet: &Fleet) -> Placement {\n",
            "request: &Request<'_>, fleet: &Fleet) -> Placement {\n        assert_ne!(request.model(), \"bad\", \"boom\");\n",
        ],
        &[("bad", "boom")],
    );
}

#[test]
fn a_new_policy_in_typescript() {
    check(
        "ts",
        "policy.ts",
        [
            "place(_request, fleet) {\n",
            "place(request, fleet) {\n    if (request.model === 'bad') throw new Error('boom');\n    \
             if (request.model === 'date') return Placement.replica(Date.now());\n    \
             console.log('asked for', request.model);\n",
        ],
        &[
            ("bad", "Error: boom (policy.ts:11 in place)"),
            ("date", "clock.nowMs() of @headworks/policy has the time (policy.ts:12 in place)"),
        ],
    );
}

#[test]
fn a_new_policy_in_python() {
    check(
        "python",
        "policy.py",
        [
            "-> Placement:\n        takers",
            "-> Placement:\n        if request.model == \"bad\":\n            raise ValueError(\"boom\")\n        \
             if request.model == \"sdk\":\n            fleet.runing\n        \
             if request.model == \"time\":\n            import time\n            time.time()\n        \
             print(\"asked for\", request.model)\n        takers",
        ],
        &[
            ("bad", "ValueError: boom (policy.py:13 in place)"),
            ("sdk", "prefill_tokens (policy.py:15 in place)"),
            ("time", "clock.now_ms() of headworks_policy has the time (policy.py:18 in place)"),
        ],
    );
}

/// The tables that come with it hold, by the verb that an author is told of.
#[test]
fn a_new_policys_own_tests_pass() {
    let room = Room::new();
    let folder = room.scaffold("first-idle", "rust");
    policy(&["build", text(&folder)]).unwrap();
    let (component, tests) = (folder.join("policy.wasm"), folder.join("tests"));
    policy(&["check", text(&component)]).unwrap();
    policy(&["test", text(&tests), "--policy", text(&component)]).unwrap();
    policy(&["test", &format!("--unit={}", text(&folder))]).unwrap();
}

/// The unit tests that come with it run with nothing installed in the folder, and one that fails is a failure.
#[test]
fn unit_tests_find_the_policy_and_its_sdk() {
    for (lang, tests, [from, to]) in [
        ("ts", "tests/policy.test.ts", ["Placement.replica(2)", "Placement.replica(1)"]),
        ("python", "tests/test_policy.py", ["Placement.replica(2)", "Placement.replica(1)"]),
    ] {
        let room = Room::new();
        let folder = room.scaffold("first-idle", lang);
        let unit = format!("--unit={}", text(&folder));
        policy(&["test", &unit]).unwrap_or_else(|error| panic!("{lang}: {error:#}"));
        edit(&folder.join(tests), from, to);
        let failed = policy(&["test", &unit]).unwrap_err();
        assert!(format!("{failed:#}").contains("run the unit tests"), "{failed:#}");
    }
}

/// An example's component, whose own tables hold.
fn built_and_tested(example: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(example);
    let room = Room::new();
    let component = room.build(&folder).unwrap_or_else(|error| panic!("{error:#}"));
    policy(&["test", text(&folder.join("tests")), "--policy", text(&room.path("built.wasm"))]).unwrap();
    component
}

#[test]
fn the_example_in_typescript_keeps_sessions_together() {
    let component = built_and_tested("js/examples/sticky");
    let policy = load(&component, r#"{"slack":2}"#);
    assert_eq!(policy.describe().hooks, [Hook::Configure, Hook::Place]);
    let home = |running: &[u32]| chosen(place(&policy, running, "m", Some("a session")).unwrap());
    let (first, reason) = home(&[1, 1, 1, 1]);
    assert_eq!(reason, "the session's replica");
    let mut busier = [1; 4];
    busier[first as usize - 1] = 3;
    assert_eq!(home(&busier).0, first, "within the slack it stays");
    busier[first as usize - 1] = 4;
    let (elsewhere, reason) = home(&busier);
    assert_ne!(elsewhere, first);
    assert_eq!(reason, "the session's replica has 4, the idlest 1");
}

#[test]
fn the_example_in_python_takes_the_least_loaded() {
    let component = built_and_tested("python/examples/least-load");
    let policy = load(&component, r#"{"scan":"all"}"#);
    assert_eq!(policy.describe().hooks, [Hook::Configure, Hook::Place]);
    assert_eq!(chosen(place(&policy, &[5, 2, 3], "m", None).unwrap()), (2, "lowest load 2 of 3".to_owned()));
}
