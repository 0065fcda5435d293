//! Another configuration while requests run.

use std::path::PathBuf;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{LISTEN, Proxy, Replica, replicas, text};

/// Of the key `k`.
const KEY: &str = "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a";

struct File {
    folder: TempDir,
}

impl File {
    fn new(lines: &str) -> File {
        let file = File { folder: tempfile::tempdir().unwrap() };
        file.write(lines);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("proxy.toml")
    }

    fn write(&self, lines: &str) {
        let text = format!("limits.poll_interval_ms = 20\n{LISTEN}\n{lines}");
        std::fs::write(self.folder.path().join("next"), text).unwrap();
        std::fs::rename(self.folder.path().join("next"), self.path()).unwrap();
    }
}

async fn reload(proxy: &Proxy) -> (StatusCode, Value) {
    let answer = proxy.admin(Method::POST, "/admin/v1/reload", "").await;
    (answer.status(), serde_json::from_str(&text(answer).await).unwrap())
}

#[tokio::test]
async fn a_changed_file_brings_another_fleet_and_drops_no_request() {
    let (mut old, mut new) = (Replica::start().await, Replica::start().await);
    let file = File::new(&replicas([&old]));
    let proxy = Proxy::of_file(&file.path()).await;
    proxy.until_healthy(1).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async {
        let under_way = old.asked().await;
        file.write(&replicas([&new]));
        // The old one of the name, which drains, and the new one.
        proxy.until_healthy(2).await;
        let (other, ()) = tokio::join!(proxy.chat(), async { new.asked().await.answer(200, "{}") });
        assert_eq!(other.status(), 200);
        under_way.answer(200, "{}");
    });
    assert_eq!(answer.status(), 200);
    proxy.until_healthy(1).await;
    assert_eq!(proxy.metric("headworks_proxy_config_reloads_total{result=\"taken\"}").await, 1.0);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_changes_nothing_and_is_told() {
    let replica = Replica::start().await;
    let file = File::new(&replicas([&replica]));
    let proxy = Proxy::of_file(&file.path()).await;
    proxy.until_healthy(1).await;
    file.write("wieght = 3");
    let (status, said) = reload(&proxy).await;
    assert_eq!((status, &said["taken"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(false)));
    let error = said["errors"][0].as_str().unwrap();
    assert!(error.contains("wieght") && error.contains("line"), "{error}");
    assert_eq!(proxy.document("/admin/v1/reload").await["last"]["errors"][0], error);
    assert!(proxy.metric("headworks_proxy_config_reloads_total{result=\"refused\"}").await >= 1.0);
    proxy.until_healthy(1).await;
}

#[tokio::test]
async fn what_only_a_start_can_change_is_told_by_name() {
    let replica = Replica::start().await;
    let file = File::new(&replicas([&replica]));
    let proxy = Proxy::of_file(&file.path()).await;
    proxy.until_healthy(1).await;
    file.write(&format!(
        "policy_headers = [\"x-team\"]\nlimits.queue_max = 3\nlimits.tries_max = 1\n{}",
        replicas([&replica])
    ));
    let (status, said) = reload(&proxy).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(said["needs_restart"], json!(["policy_headers", "limits.queue_max"]));
    assert_eq!(said["errors"], json!([]));
}

#[tokio::test]
async fn another_tenant_may_ask_at_once() {
    let replica = Replica::start().await;
    let file = File::new(&replicas([&replica]));
    let proxy = Proxy::of_file(&file.path()).await;
    proxy.until_healthy(1).await;
    file.write(&format!("{}[[tenant]]\nname = \"acme\"\nkey_sha256 = [\"{KEY}\"]\n", replicas([&replica])));
    reload(&proxy).await;
    assert_eq!(proxy.chat().await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_file_without_its_last_tenant_opens_nothing_unless_it_says_so() {
    let mut replica = Replica::start().await;
    replica.answer_all("{}");
    let all = replicas([&replica]);
    let acme = format!("{all}[[tenant]]\nname = \"acme\"\nkey_sha256 = [\"{KEY}\"]\n");
    let file = File::new(&acme);
    let proxy = Proxy::of_file(&file.path()).await;
    proxy.until_healthy(1).await;
    // Twice: the second time the file is no other than the one before.
    for tries in ["limits.tries_max = 1", "limits.tries_max = 2"] {
        file.write(&format!("{tries}\n{all}"));
        let (status, said) = reload(&proxy).await;
        assert_eq!((status, &said["taken"]), (StatusCode::OK, &json!(true)), "the rest is taken");
        let error = said["errors"][0].as_str().unwrap();
        assert!(error.contains("`open = true` in [tenants]"), "{error}");
        assert_eq!(proxy.chat().await.status(), StatusCode::UNAUTHORIZED);
    }
    file.write(&acme);
    assert_eq!(reload(&proxy).await.1["errors"], json!([]));
    assert_eq!(proxy.chat().await.status(), StatusCode::UNAUTHORIZED);
    file.write(&format!("tenants.open = true\n{all}"));
    assert_eq!(reload(&proxy).await.1["errors"], json!([]));
    assert_eq!(proxy.chat().await.status(), StatusCode::OK);
}
