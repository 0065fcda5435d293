//! The official `openai` Python package, through the proxy, unchanged.

use std::process::Command;

use crate::processes::{MODEL, engine, proxy, tool};

#[test]
fn the_official_python_client_works_through_the_proxy() {
    let (one, other) = (engine(&[]), engine(&[]));
    let proxy = proxy(&[&one.url, &other.url], "round-robin", "");
    let output = Command::new(tool("HEADWORKS_TEST_PYTHON"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/openai_client.py"))
        .args([format!("{}/v1", proxy.url), MODEL.to_owned()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
