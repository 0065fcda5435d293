//! Policies are swapped while requests flow: none fails, none is decided by half a swap, and a bad one changes nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::http::{self, Answer, chat};
use crate::processes::{SLOT, Server, component, engine, proxy};

fn upload(proxy: &Server, bytes: &[u8]) -> Answer {
    http::put(&format!("{}/admin/v1/policies/{SLOT}", proxy.admin), bytes)
}

fn active(proxy: &Server) -> Value {
    let policies = proxy.admin_json("/admin/v1/policies");
    let versions = policies["chain"][0]["versions"].as_array().unwrap().clone();
    versions.into_iter().find(|version| version["state"] == "active").unwrap()
}

#[test]
fn no_request_fails_while_policies_are_swapped() {
    let (one, other) = (engine(&[]), engine(&[]));
    let proxy = proxy(&[&one.url, &other.url], "round-robin", "");
    let components = ["least-load", "round-robin"].map(|name| std::fs::read(component(name)).unwrap());
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let body = chat("hello", 2, false).to_string();
                    let answer = http::post(&format!("{}/v1/chat/completions", proxy.url), body.as_bytes());
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for swap in 0..20 {
            let answer = upload(&proxy, &components[swap % 2]);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let before = sent.load(Ordering::Relaxed);
            crate::processes::wait_for("requests under the new version", || {
                (sent.load(Ordering::Relaxed) > before + 4).then_some(())
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    let decisions = proxy.admin_json("/admin/v1/decisions?limit=200");
    let decisions = decisions["decisions"].as_array().unwrap();
    let pairs: BTreeSet<(String, String)> =
        decisions.iter().map(|one| (one["policy"].to_string(), one["digest"].to_string())).collect();
    assert!(decisions.iter().all(|one| one["status"] == 200 || one["outcome"] == "running"), "{decisions:?}");
    assert!(pairs.len() <= 2, "each name goes with one digest: {pairs:?}");
}

#[test]
fn what_is_no_policy_is_refused_with_the_reason_and_the_old_one_stays() {
    let engine = engine(&[]);
    let proxy = proxy(&[&engine.url], "round-robin", "");
    let before = active(&proxy);
    let good = std::fs::read(component("least-load")).unwrap();
    let core_module = b"\0asm\x01\0\0\0";
    let rows: [(&[u8], &str); 3] =
        [(b"garbage", "WebAssembly"), (core_module, "component"), (&good[..good.len() / 2], "")];
    for (bytes, says) in rows {
        let answer = upload(&proxy, bytes);
        assert!((400..500).contains(&answer.status), "{}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says) && message.len() > 20, "{message}");
        assert_eq!(active(&proxy)["digest"], before["digest"]);
    }
    let answer = http::post(&format!("{}/v1/chat/completions", proxy.url), chat("hi", 2, false).to_string().as_bytes());
    assert_eq!(answer.status, 200);
}

#[test]
fn a_rollback_goes_back_and_a_second_one_has_nowhere_to_go() {
    let engine = engine(&[]);
    let proxy = proxy(&[&engine.url], "round-robin", "");
    let rollback = format!("{}/admin/v1/policies/{SLOT}/rollback", proxy.admin);
    assert_eq!(http::post(&rollback, b"").status, 409, "there is one version only");
    assert_eq!(upload(&proxy, &std::fs::read(component("least-load")).unwrap()).status, 200);
    assert_eq!(active(&proxy)["name"], "least-load");
    assert_eq!(http::post(&rollback, b"").status, 200);
    assert_eq!(active(&proxy)["name"], "round-robin");
}
