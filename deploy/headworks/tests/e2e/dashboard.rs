//! The dashboard in a real browser: under traffic of a real proxy, and of a make-believe one that fails on demand.

use std::process::Command;

use crate::processes::{component, engine, proxy, tool};

const WEB_UI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web-ui");

#[test]
fn the_dashboard_shows_the_fleet_and_swaps_a_policy() {
    let (one, other) = (engine(&[]), engine(&[]));
    let proxy = proxy(&[&one.url, &other.url], "round-robin", "");
    run(script("dashboard")
        .env("ADMIN_URL", &proxy.admin)
        .env("DATA_URL", &proxy.url)
        .env("POLICY_FILE", component("least-load")));
}

#[test]
fn the_dashboard_shows_what_a_policy_does_wrong() {
    run(&mut script("simulated"));
}

fn script(name: &str) -> Command {
    let mut script = Command::new("node");
    script.arg(format!("e2e/{name}.mjs")).current_dir(WEB_UI).env("CHROMIUM", tool("HEADWORKS_TEST_CHROMIUM"));
    script
}

#[track_caller]
fn run(script: &mut Command) {
    let output = script.output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
