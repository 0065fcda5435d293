//! The dashboard in a real browser, under traffic.

use std::process::Command;

use crate::processes::{component, engine, proxy, tool};

const WEB_UI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web-ui");

#[test]
fn the_dashboard_shows_the_fleet_and_swaps_a_policy() {
    let (one, other) = (engine(&[]), engine(&[]));
    let proxy = proxy(&[&one.url, &other.url], "round-robin", "");
    let output = Command::new("node")
        .arg("e2e/dashboard.mjs")
        .current_dir(WEB_UI)
        .env("ADMIN_URL", &proxy.admin)
        .env("DATA_URL", &proxy.url)
        .env("CHROMIUM", tool("HEADWORKS_TEST_CHROMIUM"))
        .env("POLICY_FILE", component("least-load"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
