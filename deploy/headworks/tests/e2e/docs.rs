//! The pages in docs/ are true: the configuration they show is sound, and they name every metric there is.

use std::collections::BTreeSet;
use std::path::Path;

use crate::http;
use crate::processes::{component, engine, folder, headworks, proxy};

/// A certificate that the proxy's tests use.
const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proxy/proxy-server/tests/proxy/tls");

#[track_caller]
fn check(metrics_url: &str, prefix: &str, page: &str) {
    let shown = http::get(metrics_url).text();
    let names: BTreeSet<&str> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()?.strip_prefix(prefix))
        .collect();
    assert!(names.len() > 10, "{shown}");
    let missing: Vec<&&str> = names.iter().filter(|name| !page.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "the docs do not name {prefix}{missing:?}");
}

#[test]
fn every_metric_is_documented() {
    let engine = engine(&[]);
    let proxy = proxy(&[&engine.url], "least-load", "");
    check(&format!("{}/metrics", engine.url), "headworks_engine_", include_str!("../../../../docs/engine.md"));
    check(&format!("{}/metrics", proxy.admin), "headworks_proxy_", include_str!("../../../../docs/metrics.md"));
}

#[test]
fn the_documented_configuration_is_sound() {
    let page = include_str!("../../../../docs/proxy.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (config, _) = rest.split_once("```").unwrap();
    let dir = folder();
    let file = dir.path().join("proxy.toml");
    std::fs::write(&file, config).unwrap();
    // What it names, which a check reads.
    for folder in ["tls", "policies", "drafts"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
    }
    std::fs::copy(component("least-load"), dir.path().join("policies/least-load.wasm")).unwrap();
    let same = |pem| (pem, pem);
    let ours = [
        ("ca.pem", "replicas-ca.pem"),
        ("ca.pem", "clients-ca.pem"),
        ("client.pem", "proxy.pem"),
        ("client.key", "proxy.key"),
    ];
    for (pem, named) in ["cert.pem", "key.pem"].map(same).into_iter().chain(ours) {
        std::fs::copy(Path::new(TLS).join(pem), dir.path().join("tls").join(named)).unwrap();
    }
    let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    std::fs::write(dir.path().join("tls/jwks.json"), keys).unwrap();
    let output = headworks()
        .args(["proxy", "--check", "--config"])
        .arg(&file)
        .env("HEADWORKS_ADMIN_TOKEN", "one")
        .env("HEADWORKS_EU_TOKEN", "two")
        .env("HEADWORKS_REGISTER_TOKEN", "four")
        .env("REGISTRY_PASSWORD", "three")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
