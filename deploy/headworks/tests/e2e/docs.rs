//! The pages in docs/ name every metric that the processes show.

use std::collections::BTreeSet;

use crate::http;
use crate::processes::{engine, proxy};

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
    check(&format!("{}/metrics", proxy.admin), "headworks_proxy_", include_str!("../../../../docs/proxy.md"));
}
