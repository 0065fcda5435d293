//! A version's life over the admin API: tried, promoted, configured, activated, rolled back; and who did what and when.

use http::Method;
use serde_json::{Value, json};

use crate::fixture::component::{Guest, place_of, remembering, remembering_then};
use crate::fixture::guest::{admit_trapping, denying, placing, replica};
use crate::fixture::{Proxy, Replica, replicas, shown, text};

/// What the admin API answers under a slot's path.
pub async fn ask(proxy: &Proxy, method: Method, path: &str, body: impl Into<bytes::Bytes>) -> (u16, Value) {
    let answer = proxy.admin(method, &format!("/admin/v1/policies/{path}"), body).await;
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&text(answer).await).unwrap())
}

/// The same where it must be done.
pub async fn done(proxy: &Proxy, method: Method, path: &str, body: impl Into<bytes::Bytes>) -> Value {
    let (status, slot) = ask(proxy, method, path, body).await;
    assert_eq!(status, 200, "{path}: {slot}");
    slot
}

/// The code of what must be refused.
async fn refused(proxy: &Proxy, method: Method, path: &str, body: impl Into<bytes::Bytes>) -> String {
    let (status, error) = ask(proxy, method, path, body).await;
    format!("{status} {}", error["error"]["code"].as_str().unwrap())
}

/// Each version's number and state, newest first.
pub fn states(slot: &Value) -> String {
    let versions = slot["versions"].as_array().unwrap().iter();
    let words = versions.map(|version| format!("{} {}", version["number"], version["state"].as_str().unwrap()));
    words.collect::<Vec<String>>().join(", ")
}

/// What was done, oldest first: what, by whom, from where to where, and why.
pub fn history(slot: &Value) -> Vec<String> {
    let number = |value: &Value| value.as_u64().map_or("-".to_owned(), |number| number.to_string());
    let in_words = |entry: &Value| {
        let why = entry["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
        let [what, by] = ["what", "by"].map(|key| entry[key].as_str().unwrap());
        format!("{what} by {by}, {} to {}{why}", number(&entry["from"]), number(&entry["to"]))
    };
    slot["history"].as_array().unwrap().iter().rev().map(in_words).collect()
}

/// The slot as it is.
pub async fn slot(proxy: &Proxy, name: &str) -> Value {
    let policies = proxy.document("/admin/v1/policies").await;
    policies["chain"].as_array().unwrap().iter().find(|slot| slot["slot"] == name).unwrap().clone()
}

/// Posts a chat request of this session.
async fn chat_in(proxy: &Proxy, session: &str) -> u16 {
    let mut request = proxy.request(Method::POST, "/v1/chat/completions", crate::fixture::CHAT);
    request.headers_mut().insert("x-session-id", session.parse().unwrap());
    proxy.send(request).await.status().as_u16()
}

#[tokio::test]
async fn a_canary_has_its_share_until_it_is_promoted() {
    let mut only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    only.answer_all("{}");
    done(&proxy, Method::PUT, "limits", placing("passes", "(i32.const 4)")).await;
    let tried = done(&proxy, Method::PUT, "limits?canary=30", denying("denies")).await;
    assert_eq!(states(&tried), "2 canary, 1 active");
    assert_eq!((&tried["canary"]["version"], &tried["canary"]["percent"]), (&2.into(), &30.into()));
    let mut denied = 0;
    for session in 0..100 {
        let first = chat_in(&proxy, &session.to_string()).await;
        assert_eq!(chat_in(&proxy, &session.to_string()).await, first, "a session meets one version only");
        denied += u32::from(first == 429);
    }
    assert!((15..45).contains(&denied), "{denied} of 100");
    assert_eq!(slot(&proxy, "limits").await["canary"]["requests"], denied * 2);
    let promoted = done(&proxy, Method::POST, "limits/promote", "").await;
    assert_eq!((states(&promoted), &promoted["canary"]), ("2 active, 1 previous".to_owned(), &Value::Null));
    assert_eq!(proxy.chat().await.status(), 429);
    assert_eq!(refused(&proxy, Method::POST, "limits/promote", "").await, "409 no_canary");
    let back = done(&proxy, Method::POST, "limits/rollback", "").await;
    assert_eq!(states(&back), "2 rejected, 1 active");
}

#[tokio::test]
async fn a_rollback_drops_the_canary_first_and_another_version_ends_its_trial() {
    let proxy = Proxy::start("").await;
    let component = |name| placing(name, &replica(0));
    assert_eq!(refused(&proxy, Method::PUT, "placement?canary=10", component("a")).await, "404 unknown_slot");
    done(&proxy, Method::PUT, "placement", component("a")).await;
    for percent in ["0", "100", "-1", "x"] {
        let (status, error) = ask(&proxy, Method::PUT, &format!("placement?canary={percent}"), component("b")).await;
        assert_eq!((status, &error["error"]["param"]), (400, &"canary".into()));
    }
    done(&proxy, Method::PUT, "placement?canary=10", component("b")).await;
    assert_eq!(states(&done(&proxy, Method::POST, "placement/rollback", "").await), "2 rejected, 1 active");
    done(&proxy, Method::PUT, "placement?canary=10", component("c")).await;
    done(&proxy, Method::PUT, "placement?canary=20", component("d")).await;
    let last = done(&proxy, Method::PUT, "placement", component("e")).await;
    assert_eq!(states(&last), "5 active, 4 rejected, 3 rejected, 2 rejected, 1 previous");
    insta::assert_snapshot!(history(&last).join("\n"));
}

#[tokio::test]
async fn a_kept_version_becomes_active_again() {
    let proxy = Proxy::start("").await;
    for name in ["a", "b", "c"] {
        done(&proxy, Method::PUT, "placement", placing(name, &replica(0))).await;
    }
    let again = done(&proxy, Method::POST, "placement/activate", r#"{"version":1}"#).await;
    assert_eq!(states(&again), "3 previous, 2 previous, 1 active");
    assert_eq!(
        done(&proxy, Method::POST, "placement/activate", r#"{"version":1}"#).await["versions"],
        again["versions"]
    );
    assert_eq!(refused(&proxy, Method::POST, "placement/activate", r#"{"version":9}"#).await, "404 unknown_version");
    assert_eq!(refused(&proxy, Method::POST, "nothing/activate", r#"{"version":1}"#).await, "404 unknown_slot");
    let (status, error) = ask(&proxy, Method::POST, "placement/activate", "{}").await;
    assert_eq!((status, &error["error"]["param"]), (400, &"version".into()));
    let back = done(&proxy, Method::POST, "placement/rollback", "").await;
    assert_eq!(states(&back), "3 active, 2 previous, 1 rejected");
}

/// A policy with a configuration of one field.
fn configurable() -> Guest {
    let configure = r#"(func (export "headworks:policy/configure@0.1.0#configure") (param i32 i32) (result i32)
        (i32.store8 (i32.const 2048) (i32.const 0)) (i32.const 2048))"#;
    Guest {
        name: "configurable",
        worlds: vec!["configured", "placing"],
        hooks: vec![0, 2],
        single: false,
        schema: r#"{"type":"object","additionalProperties":false,"properties":{"limit":{"type":"integer","minimum":1}}}"#,
        body: format!("{configure}\n{}", place_of("(i32.const 4)")),
    }
}

#[tokio::test]
async fn another_configuration_is_another_version_and_a_wrong_one_names_its_field() {
    let proxy = Proxy::start("").await;
    done(&proxy, Method::PUT, "placement", configurable().bytes()).await;
    let configured = done(&proxy, Method::PUT, "placement/config", r#"{ "limit": 3 }"#).await;
    assert_eq!((states(&configured), &configured["config"]), ("2 active, 1 previous".to_owned(), &json!({"limit": 3})));
    assert_eq!(configured["versions"][1]["config"], json!({}));
    assert_eq!(configured["versions"][0]["digest"], configured["versions"][1]["digest"]);
    let (_, config) = ask(&proxy, Method::GET, "placement/config", "").await;
    assert_eq!((&config["config"], &config["schema"]["type"]), (&json!({"limit": 3}), &"object".into()));
    assert_eq!(config["schema"], configured["config_schema"]);
    for (wrong, field) in [(r#"{"limit":0}"#, "limit"), (r#"{"limt":1}"#, "limt"), (r#"{"limit":"1"}"#, "limit")] {
        let (status, error) = ask(&proxy, Method::PUT, "placement/config", wrong).await;
        let error = &error["error"];
        assert_eq!(
            (status, &error["code"], &error["param"]),
            (422, &"config_refused".into(), &field.into()),
            "{error}"
        );
    }
    assert_eq!(refused(&proxy, Method::PUT, "placement/config", "[]").await, "422 config_refused");
    let uploaded = done(&proxy, Method::PUT, "placement", configurable().bytes()).await;
    assert_eq!(uploaded["config"], json!({"limit": 3}), "an upload takes the configuration over");
    insta::assert_snapshot!(history(&uploaded).join("\n"));
}

#[tokio::test]
async fn the_history_says_who_and_is_bounded() {
    let proxy = Proxy::start("limits.policy_history_max = 2").await;
    let put = async |user: &str| {
        let uri = format!("http://{}/admin/v1/policies/placement", proxy.bound.admin);
        let request = http::Request::put(uri).header("x-headworks-user", user);
        let body = http_body_util::Full::new(placing("a", &replica(0)).into());
        assert_eq!(proxy.send(request.body(body).unwrap()).await.status(), 200);
    };
    for user in ["alice", "", "bob"] {
        put(user).await;
    }
    let placement = slot(&proxy, "placement").await;
    assert_eq!(history(&placement), ["activated by admin, 1 to 2", "activated by bob, 2 to 3"]);
    assert_eq!(placement["versions"][0]["by"], "bob");
    assert_eq!(placement["history"][0]["digest"], placement["versions"][0]["digest"]);
    assert!(
        placement["history"][0]["time_ms"].as_u64().unwrap() >= placement["history"][1]["time_ms"].as_u64().unwrap()
    );
}

#[tokio::test]
async fn a_components_bytes_can_be_had_back() {
    let proxy = Proxy::start("").await;
    let component = placing("a", &replica(0));
    done(&proxy, Method::PUT, "placement", component.clone()).await;
    let get = async |number: &str| {
        let path = format!("/admin/v1/policies/placement/versions/{number}/component");
        proxy.admin(Method::GET, &path, "").await
    };
    let answer = get("1").await;
    assert_eq!(answer.headers()["content-type"], "application/wasm");
    assert_eq!(crate::fixture::body(answer).await, component);
    assert_eq!((get("2").await.status().as_u16(), get("x").await.status().as_u16()), (404, 400));
}

#[tokio::test]
async fn what_a_policy_knows_goes_with_it_forth_and_back_and_to_nobody_else() {
    let mut only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    only.answer_all("{}");
    let knows = async |name: &str| {
        assert_eq!(proxy.chat().await.status(), 200);
        proxy.metric(&format!("headworks_proxy_policy_gauge{{name=\"{name}\",slot=\"memory\"}}")).await
    };
    done(&proxy, Method::PUT, "memory", remembering("first").bytes()).await;
    assert_eq!(knows("first").await, 1.0);
    done(&proxy, Method::PUT, "memory", remembering("first").bytes()).await;
    assert_eq!(knows("first").await, 2.0);
    done(&proxy, Method::POST, "memory/rollback", "").await;
    assert_eq!(knows("first").await, 3.0, "a rollback takes over what its successor knew");
    done(&proxy, Method::PUT, "memory?canary=99", remembering("first").bytes()).await;
    done(&proxy, Method::POST, "memory/promote", "").await;
    assert_eq!(knows("first").await, 4.0);
    let other = done(&proxy, Method::PUT, "memory", remembering("other").bytes()).await;
    assert_eq!(knows("other").await, 1.0);
    insta::assert_snapshot!(history(&other).join("\n"));
}

#[tokio::test]
async fn a_policy_is_asked_only_about_what_it_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("denies.wasm");
    std::fs::write(&component, denying("denies")).unwrap();
    let mut only = Replica::serving(&["tiny", "llama-3"]).await;
    let policy = format!("[[policy]]\nslot = \"limits\"\ncomponent = {component:?}\nmodels = [\"llama-*\"]\n");
    let proxy = Proxy::start(&format!("{policy}{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    only.answer_all("{}");
    assert_eq!(proxy.chat().await.status(), 200);
    let llama = r#"{"model":"llama-3","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(proxy.post("/v1/chat/completions", llama).await.status(), 429);
    let limits = slot(&proxy, "limits").await;
    assert_eq!(limits["scope"], json!({"models": ["llama-*"], "tenants": [], "endpoints": []}));
    assert_eq!(limits["on_error"], json!({"admit": "reject", "place": "fallback"}));
    assert_eq!((&limits["versions"][0]["source"], &limits["versions"][0]["by"]), (&"file".into(), &"file".into()));
    assert_eq!(limits["versions"][0]["source_detail"], component.display().to_string());
}

#[tokio::test]
async fn a_canary_that_fails_is_rolled_back() {
    let mut only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    only.answer_all("{}");
    done(&proxy, Method::PUT, "placement", placing("good", &replica(0))).await;
    done(&proxy, Method::PUT, "placement?canary=99", placing("names-nobody", &replica(9))).await;
    let gone = |policies: &Value| policies["chain"][0]["canary"].is_null();
    let (policies, ()) = tokio::join!(proxy.until("policies", gone), async {
        for request in 0..200 {
            assert_eq!(chat_in(&proxy, &request.to_string()).await, 200, "the fallback decides");
        }
    });
    let placement = &policies["chain"][0];
    assert_eq!(states(placement), "2 quarantined, 1 active");
    let last = history(placement).pop().unwrap();
    let expected = "quarantined by budget, 2 to 1: 20 faults within 100 calls; the last: it named replica 9, which";
    assert!(last.starts_with(expected), "{last}");
    assert_eq!(
        refused(&proxy, Method::POST, "placement/activate", r#"{"version":2}"#).await,
        "409 version_quarantined"
    );
}

#[tokio::test]
async fn a_canary_over_its_budget_is_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("good.wasm");
    std::fs::write(&component, placing("good", &replica(0))).unwrap();
    let mut only = Replica::start().await;
    let policy = format!(
        "[[policy]]\nslot = \"placement\"\ncomponent = {component:?}\n[policy.budget]\nrequests_min = 5\n\
         call_us_p99_max = 1000000\nfaults_permille_max = 0\n[policy.quarantine]\nfaults_max = 10000\nwindow_calls = 10000\n"
    );
    let proxy = Proxy::start(&format!("{policy}{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    only.answer_all("{}");
    done(&proxy, Method::PUT, "placement?canary=99", placing("names-nobody", &replica(9))).await;
    let gone = |policies: &Value| policies["chain"][0]["canary"].is_null();
    let (policies, ()) = tokio::join!(proxy.until("policies", gone), async {
        for request in 0..200 {
            assert_eq!(chat_in(&proxy, &request.to_string()).await, 200);
        }
    });
    let placement = &policies["chain"][0];
    assert_eq!(states(placement), "2 rejected, 1 active");
    let last = history(placement).pop().unwrap();
    assert!(last.starts_with("rolled_back by budget, 2 to 1: ") && last.contains("faults_permille_max"), "{last}");
    assert_eq!(placement["versions"][0]["source"], "admin");
}

/// Asks until a slot is as wanted; gives it.
async fn until_slot(proxy: &Proxy, fits: impl Fn(&Value) -> bool) -> Value {
    proxy.until("policies", |policies| fits(&policies["chain"][0])).await["chain"][0].clone()
}

#[tokio::test]
async fn a_version_that_fails_too_often_is_quarantined_and_the_one_before_it_restored() {
    let only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    done(&proxy, Method::PUT, "limits", denying("denies")).await;
    done(&proxy, Method::PUT, "limits", admit_trapping("traps")).await;
    for _ in 0..20 {
        assert_eq!(proxy.chat().await.status(), 503);
    }
    let limits = until_slot(&proxy, |slot| slot["versions"][0]["state"] == "quarantined").await;
    assert_eq!(states(&limits), "2 quarantined, 1 active");
    assert_eq!(proxy.chat().await.status(), 429, "the one before decides again");
    assert_eq!(limits["versions"][0]["faults_total"], 20);
    let quarantined = "headworks_proxy_policy_quarantined_versions{slot=\"limits\"}";
    assert_eq!(proxy.metric(quarantined).await, 1.0);
    let swaps = "headworks_proxy_policy_swaps_total{result=\"quarantined\",slot=\"limits\"}";
    assert_eq!(proxy.metric(swaps).await, 1.0);
    assert_eq!(refused(&proxy, Method::POST, "limits/activate", r#"{"version":2}"#).await, "409 version_quarantined");
    assert_eq!(refused(&proxy, Method::POST, "limits/rollback", "").await, "409 nothing_to_roll_back_to");
    let anew = done(&proxy, Method::PUT, "limits", admit_trapping("traps")).await;
    assert_eq!(states(&anew), "3 active, 2 quarantined, 1 previous");
    insta::assert_snapshot!(history(&anew).join("\n"));
}

#[tokio::test]
async fn with_nothing_left_an_admit_policy_goes_on_to_reject() {
    let only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    done(&proxy, Method::PUT, "limits", admit_trapping("traps")).await;
    for _ in 0..20 {
        assert_eq!(proxy.chat().await.status(), 503);
    }
    let limits = until_slot(&proxy, |slot| slot["versions"][0]["state"] == "quarantined").await;
    assert_eq!(proxy.chat().await.status(), 503);
    assert_eq!(slot(&proxy, "limits").await["versions"][0]["faults_total"], 20, "it is not asked any more");
    let decision = proxy.document("/admin/v1/decisions?limit=1").await["decisions"][0].clone();
    let fault = "limits (traps 1.2.3): it is quarantined and no earlier version is left; put another one";
    assert_eq!(decision["faults"], json!([fault]));
    insta::assert_snapshot!(history(&limits).join("\n"));
    assert_eq!(refused(&proxy, Method::PUT, "limits/config", "{}").await, "409 nothing_to_configure");
    done(&proxy, Method::PUT, "limits", denying("denies")).await;
    insta::assert_snapshot!(shown(proxy.chat().await).await);
}

#[tokio::test]
async fn with_nothing_left_a_place_policy_is_passed_over() {
    let mut only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    only.answer_all("{}");
    done(&proxy, Method::PUT, "placement", placing("names-nobody", &replica(9))).await;
    for _ in 0..20 {
        assert_eq!(proxy.chat().await.status(), 200);
    }
    until_slot(&proxy, |slot| slot["versions"][0]["state"] == "quarantined").await;
    assert_eq!(proxy.chat().await.status(), 200);
    let decisions =
        proxy.until("decisions", |all| all[0]["outcome"] == "finished" && all[0]["faults"] == json!([])).await;
    assert_eq!(decisions[0]["policy"], "native-least-load");
}

#[tokio::test]
async fn what_is_restored_knows_what_the_quarantined_version_learnt() {
    let mut only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    only.answer_all("{}");
    done(&proxy, Method::PUT, "memory", remembering("counts").bytes()).await;
    assert_eq!(proxy.chat().await.status(), 200);
    done(&proxy, Method::PUT, "memory", remembering_then("counts", &replica(9)).bytes()).await;
    for _ in 0..20 {
        assert_eq!(proxy.chat().await.status(), 200, "the fallback decides");
    }
    let memory = until_slot(&proxy, |slot| slot["versions"][0]["state"] == "quarantined").await;
    assert_eq!(states(&memory), "2 quarantined, 1 active");
    assert!(history(&memory).pop().unwrap().ends_with("; took over its predecessor's state, 4 bytes"));
    assert_eq!(proxy.chat().await.status(), 200);
    assert_eq!(proxy.metric("headworks_proxy_policy_gauge{name=\"counts\",slot=\"memory\"}").await, 22.0);
}
