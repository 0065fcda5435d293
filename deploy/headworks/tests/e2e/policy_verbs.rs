//! `headworks policy` on the shipped components: what an author sees, and what the exit code says.

use std::process::Output;

use serde_json::Value;

use crate::processes::{Server, component, folder, headworks, wait_for};

fn tests(name: &str) -> String {
    format!("{}/tests/e2e/policies/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

fn scenario(name: &str) -> String {
    format!("{}/../../benches/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

fn shipped(name: &str) -> String {
    component(name).display().to_string()
}

fn policy(words: &[&str]) -> Output {
    headworks().arg("policy").args(words).output().unwrap()
}

#[track_caller]
fn succeeds(words: &[&str]) -> String {
    let output = policy(words);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Both streams, with this machine's paths taken out.
fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let here = format!("{}/", env!("CARGO_MANIFEST_DIR"));
    let components = format!("{}/", component("").parent().unwrap().display());
    String::from_utf8_lossy(&text).replace(&here, "").replace(&components, "")
}

#[test]
fn a_sound_component_says_who_it_is() {
    let report = succeeds(&["check", &shipped("least-load"), "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report["name"], &report["accepted"], &report["mode"]),
        (&"least-load".into(), &true.into(), &"pooled".into())
    );
    assert!(
        report["imports"]
            .as_array()
            .unwrap()
            .iter()
            .all(|name| name.as_str().unwrap().starts_with("headworks:policy/"))
    );
    assert_eq!(report["config_schema"]["title"], "least-load");
    let text = succeeds(&["check", &shipped("round-robin")]);
    assert!(text.contains("policy      round-robin 0.1.0") && text.contains("self-check  passed"), "{text}");
}

#[test]
fn what_is_refused_is_refused_with_the_runtimes_reason() {
    let folder = folder();
    let path = folder.path().join("not.wasm");
    std::fs::write(&path, b"\0asm\x01\0\0\0").unwrap();
    let module = policy(&["check", path.to_str().unwrap()]);
    let config = policy(&["check", &shipped("least-load"), "--config", r#"{"scan":"most"}"#]);
    let absent = policy(&["check", "absent.wasm"]);
    for (output, reason) in
        [(module, "core WebAssembly module"), (config, "scan"), (absent, "read the component absent.wasm")]
    {
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(reason), "{}", said(&output));
    }
}

#[test]
fn tests_that_hold_are_named() {
    insta::assert_snapshot!(said(&policy(&["test", &tests("good"), "--policy", &shipped("least-load")])));
    let limits = policy(&["test", &tests("rate-limit"), "--policy", &shipped("rate-limit")]);
    assert!(limits.status.success(), "{}", said(&limits));
}

#[test]
fn tests_that_do_not_hold_are_told_with_what_came_instead() {
    let output = policy(&["test", &tests("failing"), "--policy", &shipped("least-load")]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(said(&output));
}

#[test]
fn a_bench_has_time_and_fuel() {
    let words = ["--calls", "300", "--threads", "2", "--changed", "--prompt-tokens", "600", "--json"];
    for (name, hook) in [("prefix-tree", "place"), ("rate-limit", "admit")] {
        let path = shipped(name);
        let figures = succeeds(&[&["bench", path.as_str()], &words[..]].concat());
        let figures: Value = serde_json::from_str(&figures).unwrap();
        assert_eq!((&figures[0]["hook"], &figures[0]["faults"]), (&hook.into(), &0.into()));
        for figure in ["ns_median", "ns_p99", "calls_per_s", "fuel_median", "fuel_max", "instance_memory_bytes"] {
            assert!(figures[0][figure].as_u64().unwrap() > 0, "{figures}");
        }
    }
}

#[test]
fn a_simulation_sets_policies_beside_the_fallback_and_replays() {
    let chain = format!("{},{}:{{\"scan\":\"all\"}}", shipped("rate-limit"), shipped("least-load"));
    let run = || {
        succeeds(&["simulate", &scenario("demo"), "--policy", &shipped("round-robin"), "--policy", &chain, "--json"])
    };
    let reports: Value = serde_json::from_str(&run()).unwrap();
    let names: Vec<&str> =
        reports.as_array().unwrap().iter().map(|report| report["contender"].as_str().unwrap()).collect();
    let chain = r#"rate-limit 0.1.0 + least-load 0.1.0 {"scan":"all"}"#;
    assert_eq!(names, ["native-least-load", "round-robin 0.1.0", chain]);
    for report in reports.as_array().unwrap() {
        assert_eq!((&report["requests"], &report["finished"]), (&96.into(), &96.into()), "{report}");
    }
    assert_eq!(run(), run());
    let words =
        policy(&["simulate", &scenario("demo"), "--policy", &format!("{}:{{\"scan\":1}}", shipped("least-load"))]);
    assert!(!words.status.success() && said(&words).contains("scan"), "{}", said(&words));
}

/// The scenario and the proxy's configuration that come with a new policy are sound, whatever it is written in.
#[test]
fn what_comes_with_a_new_policy_is_sound() {
    let dir = folder();
    let made = dir.path().join("mine");
    succeeds(&["new", "mine", "--folder", made.to_str().unwrap()]);
    let scenario = made.join("scenario.toml");
    let report = succeeds(&["simulate", scenario.to_str().unwrap(), "--policy", &shipped("least-load"), "--json"]);
    let reports: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&reports[1]["contender"], &reports[1]["faults"]), (&"least-load 0.1.0".into(), &0.into()));
    assert_eq!(reports[1]["requests"], 400);
    let config = made.join("proxy.toml");
    let checked = headworks().args(["proxy", "--check", "--config"]).arg(&config).output().unwrap();
    assert!(checked.status.success(), "{}", said(&checked));
    let text = std::fs::read_to_string(&config).unwrap().replace(":8080\"", ":0\"").replace(":8081\"", ":0\"");
    std::fs::write(&config, text).unwrap();
    std::fs::copy(component("round-robin"), made.join("policy.wasm")).unwrap();
    let proxy = Server::start(headworks().arg("proxy").arg("--config").arg(&config));
    let watched = wait_for("the watched folder's policy", || {
        let chain = proxy.admin_json("/admin/v1/policies")["chain"].as_array().unwrap().clone();
        chain.into_iter().next()
    });
    assert_eq!((&watched["slot"], &watched["versions"][0]["name"]), (&"policy".into(), &"round-robin".into()));
}
