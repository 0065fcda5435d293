//! `headworks demo --once`: what a newcomer runs first.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Output;

use serde_json::Value;

use crate::processes::{component, headworks, tool};

fn demo(flags: &[&str]) -> Output {
    headworks()
        .args(["demo", "--once", "--policies"])
        .arg(tool("HEADWORKS_TEST_POLICIES"))
        .args(flags)
        .output()
        .unwrap()
}

#[track_caller]
fn check_refused(output: &Output, wanted: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.lines().last().is_some_and(|line| line.contains(wanted)), "{said}");
}

#[test]
fn it_serves_the_sample_workload_from_two_regions_and_reports() {
    let output = demo(&["--port", "0"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["failures"], 0, "{summary}");
    assert_eq!(summary["requests"], 96);
    assert!(summary["output_tokens"].as_u64().unwrap() > 96);
    for measure in ["ttft_ms", "tpot_ms"] {
        assert!(summary[measure]["p99"].as_f64().unwrap() >= summary[measure]["p50"].as_f64().unwrap(), "{summary}");
    }
    let regions = summary["regions"].as_array().unwrap();
    assert_eq!(regions.len(), 2);
    let decided: u64 = regions.iter().map(|region| region["policy"]["decisions_total"].as_u64().unwrap()).sum();
    assert_eq!(decided, 96, "every request was placed by a policy: {summary}");
    let bytes = std::fs::metadata(component("least-load")).unwrap().len();
    assert_eq!(summary["policy"]["digest"], regions[0]["policy"]["digest"]);
    for region in regions {
        assert_eq!(region["policy"]["name"], "least-load");
        assert_eq!(region["policy"]["bytes"], bytes);
        assert!(region["policy"]["digest"].as_str().unwrap().starts_with("sha256:"));
    }
}

#[test]
fn a_taken_port_is_one_clear_sentence() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    check_refused(&demo(&["--port", &port]), &format!("port {port} is already taken"));
}

#[test]
fn missing_components_are_one_clear_sentence() {
    check_refused(&demo(&["--port", "0", "--policy", "absent"]), "there is no policy component at");
}

#[test]
fn an_engine_that_fails_is_named_with_its_reason() {
    let empty = crate::processes::folder();
    let dir = empty.path().display().to_string();
    check_refused(&demo(&["--port", "0", "--model", &dir]), "engine us-0 ended");
}
