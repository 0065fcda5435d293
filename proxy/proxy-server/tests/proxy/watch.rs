//! The watched folder: what is written there is in use, and what cannot be used is told of.

use serde_json::Value;

use crate::fixture::Proxy;
use crate::fixture::guest::{placing, replica};
use crate::lifecycle::{history, states};

/// The slot `placement` once it is as wanted.
async fn until(proxy: &Proxy, fits: impl Fn(&Value) -> bool) -> Value {
    proxy.until("policies", |policies| fits(&policies["chain"][0])).await["chain"][0].clone()
}

#[tokio::test]
async fn what_changes_in_the_watched_folder_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("placement.wasm");
    std::fs::write(&file, placing("first", &replica(0))).unwrap();
    let proxy = Proxy::start(&format!("[policies]\nwatch = {:?}\n", folder.path())).await;
    let is = |name: &'static str| move |slot: &Value| slot["versions"][0]["name"] == name;
    let slot = until(&proxy, is("first")).await;
    assert_eq!((&slot["versions"][0]["source"], &slot["versions"][0]["by"]), (&"watch".into(), &"watch".into()));
    assert_eq!(slot["versions"][0]["source_detail"], file.display().to_string());

    std::fs::write(&file, placing("second", &replica(0))).unwrap();
    until(&proxy, is("second")).await;

    std::fs::write(&file, "garbage").unwrap();
    let slot = until(&proxy, |slot| slot["history"][0]["what"] == "refused").await;
    assert_eq!(states(&slot), "2 active, 1 previous", "the old one stays");

    let beside = folder.path().join("placement.wasm.new");
    std::fs::write(&beside, placing("third", &replica(0))).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    let slot = until(&proxy, is("third")).await;
    insta::assert_snapshot!(history(&slot).join("\n"));
}

#[tokio::test]
async fn a_folder_that_cannot_be_watched_stops_the_start() {
    let error = Proxy::refused("[policies]\nwatch = \"/no/such/folder\"\n").await;
    assert!(error.starts_with("policy: cannot watch /no/such/folder (`policies.watch`): "), "{error}");
}
