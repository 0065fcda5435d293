//! Policies over real sockets: swapped under load, rolled back, faulting, holding, forwarding.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::guest::{admit_trapping, denying, hold_while_first_is_busy, placing, region, replica};
use crate::fixture::{ONE_THREAD, Proxy, Replica, replicas, shown, text};

const SWAPS: usize = 20;
const CLIENTS: usize = 8;

/// Puts a component in a slot; the slot as the answer shows it.
pub async fn put(proxy: &Proxy, slot: &str, component: Vec<u8>) -> Value {
    let answer = proxy.admin(Method::PUT, &format!("/admin/v1/policies/{slot}"), component).await;
    let status = answer.status();
    let text = text(answer).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn active(slot: &Value) -> &Value {
    let versions = slot["versions"].as_array().unwrap();
    versions.iter().find(|version| version["state"] == "active").expect("one version is active")
}

/// The newest decision once its request has ended.
async fn decided(proxy: &Proxy) -> Value {
    proxy.until("decisions", |all| all[0]["outcome"].is_string() && all[0]["outcome"] != "running").await[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_policies_are_swapped_and_none_is_decided_by_half() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let lines = format!("limits.decisions_max = 100000\n{}", replicas([&one, &two]));
    one.answer_all("{}");
    two.answer_all("{}");
    let proxy = Proxy::start(&lines).await;
    proxy.until_healthy(2).await;
    let components = [placing("to-r0", &replica(0)), placing("to-r1", &replica(1))];
    put(&proxy, "placement", components[0].clone()).await;
    let (swapping, served) = (AtomicBool::new(true), AtomicU64::new(0));
    let client = async || {
        while swapping.load(Ordering::Relaxed) {
            let answer = proxy.chat().await;
            assert_eq!(answer.status(), 200);
            assert_eq!(text(answer).await, "{}");
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    let swaps = async {
        for swap in 1..=SWAPS {
            let slot = put(&proxy, "placement", components[swap % 2].clone()).await;
            assert_eq!(active(&slot)["number"], swap + 1);
        }
        swapping.store(false, Ordering::Relaxed);
    };
    tokio::join!(futures_util::future::join_all((0..CLIENTS).map(|_| client())), swaps);
    let decisions = proxy.document("/admin/v1/decisions?limit=100000").await;
    let decisions = decisions["decisions"].as_array().unwrap();
    assert!(decisions.len() as u64 >= served.load(Ordering::Relaxed));
    for decision in decisions {
        let expected = if decision["policy"] == "to-r0" { "r0" } else { "r1" };
        assert_eq!(decision["target"], expected, "{decision}");
        assert_eq!(decision["faults"], serde_json::json!([]), "{decision}");
    }
    let used = |name: &str| decisions.iter().any(|decision| decision["policy"] == name);
    assert!(used("to-r0") && used("to-r1"), "both have decided");
    assert_eq!(proxy.metric("headworks_proxy_requests_total{outcome=\"failed\"}").await, 0.0);
}

#[tokio::test]
async fn versions_are_kept_and_rolled_back_to() {
    let proxy = Proxy::start("limits.policy_versions_max = 2").await;
    let rollback = || proxy.admin(Method::POST, "/admin/v1/policies/placement/rollback", "");
    put(&proxy, "placement", placing("first", &replica(0))).await;
    assert_eq!(rollback().await.status(), 409);
    put(&proxy, "placement", placing("second", &replica(0))).await;
    let slot = put(&proxy, "placement", placing("third", &replica(0))).await;
    let names = |slot: &Value| -> Vec<String> {
        let versions = slot["versions"].as_array().unwrap();
        versions.iter().map(|version| format!("{} {}", version["name"], version["state"])).collect()
    };
    assert_eq!(names(&slot), [r#""third" "active""#, r#""second" "previous""#], "two are kept, the newest first");
    let slot = serde_json::from_str(&text(rollback().await).await).unwrap();
    assert_eq!(names(&slot), [r#""third" "rejected""#, r#""second" "active""#]);
    assert_eq!(active(&slot)["hooks"], serde_json::json!(["place"]));
    assert_eq!(rollback().await.status(), 409, "nothing is before the second any more");
}

#[tokio::test]
async fn a_rollback_never_leads_to_what_was_rolled_back_from() {
    let proxy = Proxy::start("limits.policy_versions_max = 3").await;
    let rollback = async || {
        let answer = proxy.admin(Method::POST, "/admin/v1/policies/placement/rollback", "").await;
        assert_eq!(answer.status(), 200);
        let slot: Value = serde_json::from_str(&text(answer).await).unwrap();
        active(&slot)["name"].as_str().unwrap().to_owned()
    };
    for name in ["first", "good", "bad"] {
        put(&proxy, "placement", placing(name, &replica(0))).await;
    }
    assert_eq!(rollback().await, "good");
    for name in ["worse", "worst"] {
        put(&proxy, "placement", placing(name, &replica(0))).await;
        assert_eq!(rollback().await, "good");
    }
}

#[tokio::test]
async fn a_slot_that_was_put_can_be_taken_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("passes.wasm");
    std::fs::write(&component, placing("passes", "(i32.const 4)")).unwrap();
    let proxy = Proxy::start(&format!("[[policy]]\nslot = \"kept\"\ncomponent = {component:?}\n")).await;
    let remove = async |slot: &str| proxy.admin(Method::DELETE, &format!("/admin/v1/policies/{slot}"), "").await;
    let instances = "headworks_proxy_policy_instances_max{slot=\"placemnt\"}";
    put(&proxy, "placemnt", placing("mistyped", &replica(0))).await;
    assert_eq!(proxy.metric(instances).await, 64.0);
    let answer = remove("placemnt").await;
    assert_eq!(answer.status(), 200);
    let left: Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(left["chain"].as_array().unwrap().len(), 1);
    assert_eq!(left, proxy.document("/admin/v1/policies").await);
    assert_eq!(proxy.metric(instances).await, 0.0);
    assert_eq!(remove("placemnt").await.status(), 404);
    assert_eq!(remove("kept").await.status(), 409, "it would be there again after the next start");
    let again = put(&proxy, "placemnt", placing("mistyped", &replica(0))).await;
    assert_eq!(active(&again)["number"], 1, "nothing was kept of it");
}

#[tokio::test]
async fn only_one_step_of_a_path_names_a_slot() {
    let proxy = Proxy::start("").await;
    for name in ["%2e", "%2e%2e", "a%2fb", "%ff"] {
        let answer = proxy.admin(Method::PUT, &format!("/admin/v1/policies/{name}"), placing("x", &replica(0))).await;
        assert_eq!(answer.status(), 400, "{name}");
        let error: Value = serde_json::from_str(&text(answer).await).unwrap();
        assert_eq!(error["error"]["code"], "bad_slot_name", "{error}");
    }
}

#[tokio::test]
async fn an_upload_is_carried_out_though_its_client_leaves() {
    let proxy = Proxy::start("").await;
    // Some tens of milliseconds for each of the self-check's calls.
    let slow = "(loop $again
          (i32.store (i32.const 3000) (i32.add (i32.load (i32.const 3000)) (i32.const 1)))
          (br_if $again (i32.rem_u (i32.load (i32.const 3000)) (i32.const 20000000))))
        (i32.const 4)";
    let component = placing("slow", slow);
    let head =
        format!("PUT /admin/v1/policies/placement HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", component.len());
    let mut client = tokio::net::TcpStream::connect(proxy.bound.admin).await.unwrap();
    client.write_all(&[head.as_bytes(), &component].concat()).await.unwrap();
    let is_swapping = async || proxy.metric("headworks_proxy_policy_swapping").await == 1.0;
    let chain = async || proxy.document("/admin/v1/policies").await["chain"].clone();
    while !is_swapping().await && chain().await == serde_json::json!([]) {}
    drop(client);
    while is_swapping().await {}
    assert_eq!(chain().await[0]["slot"], "placement");
}

#[tokio::test]
async fn an_upload_that_never_ends_is_broken_off() {
    let proxy = Proxy::start("limits.body_ms_max = 50").await;
    let mut client = tokio::net::TcpStream::connect(proxy.bound.admin).await.unwrap();
    let head = b"PUT /admin/v1/policies/placement HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx";
    client.write_all(head).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("component_too_slow"), "{answer}");
}

#[tokio::test]
async fn how_full_a_slot_is_can_be_read() {
    let mut only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    only.answer_all("{}");
    put(&proxy, "door", admit_trapping("moody")).await;
    assert_eq!(proxy.chat().await.status(), 503);
    for (name, expected) in [
        ("instances{slot=\"door\"}", 0.0),
        ("instances_max{slot=\"door\"}", 64.0),
        ("failures{kind=\"trapped\",slot=\"door\"}", 1.0),
        ("failures{kind=\"no_instance\",slot=\"door\"}", 0.0),
        ("store_bytes_max", f64::from(4 << 20)),
    ] {
        assert_eq!(proxy.metric(&format!("headworks_proxy_policy_{name}")).await, expected, "{name}");
    }
    let text = text(proxy.admin(Method::GET, "/metrics", "").await).await;
    for name in ["prefix_blocks", "prefix_blocks_evicted", "buckets", "store_bytes", "metric_names"] {
        assert!(text.contains(&format!("headworks_proxy_policy_{name}{{slot=\"door\"}} 0\n")), "{name}");
    }
}

#[tokio::test]
async fn what_is_refused_leaves_the_old_one() {
    let mut only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    only.answer_all("{}");
    put(&proxy, "placement", placing("good", &replica(0))).await;
    for bad in [b"garbage".to_vec(), placing("traps", "unreachable"), placing("loops", "(loop $l (br $l)) unreachable")]
    {
        assert_eq!(proxy.admin(Method::PUT, "/admin/v1/policies/placement", bad).await.status(), 422);
    }
    proxy.chat().await;
    assert_eq!(decided(&proxy).await["policy"], "good");
    let swaps = |result| format!("headworks_proxy_policy_swaps_total{{result=\"{result}\",slot=\"placement\"}}");
    assert_eq!(proxy.metric(&swaps("activated")).await, 1.0);
    assert_eq!(proxy.metric(&swaps("refused")).await, 3.0);
}

#[tokio::test]
async fn slots_are_bounded_and_asked_in_the_order_they_came() {
    let mut only = Replica::start().await;
    let proxy = Proxy::start(&format!("limits.slots_max = 2\n{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    only.answer_all("{}");
    put(&proxy, "first", placing("passes", "(i32.const 4)")).await;
    put(&proxy, "second", placing("decides", &replica(0))).await;
    let third = proxy.admin(Method::PUT, "/admin/v1/policies/third", placing("late", &replica(0))).await;
    assert_eq!(third.status(), 409);
    proxy.chat().await;
    let decision = decided(&proxy).await;
    assert_eq!((&decision["slot"], &decision["policy"]), (&"second".into(), &"decides".into()));
    assert_eq!(decision["policy_version"], "1.2.3");
    assert!(decision["digest"].as_str().unwrap().starts_with("sha256:"));
}

#[tokio::test]
async fn a_policy_that_names_nobody_is_counted_and_the_fallback_decides() {
    let mut only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    only.answer_all("{}");
    put(&proxy, "placement", placing("wrong", &replica(9))).await;
    assert_eq!(proxy.chat().await.status(), 200);
    let decision = decided(&proxy).await;
    assert_eq!(decision["policy"], "native-least-load");
    assert_eq!(
        decision["faults"],
        serde_json::json!(["placement (wrong 1.2.3): it named replica 9, which this fleet does not have"])
    );
    let policies = proxy.document("/admin/v1/policies").await;
    let version = active(&policies["chain"][0]);
    assert_eq!((&version["faults_total"], &version["decisions_total"]), (&1.into(), &0.into()));
    assert_eq!(version["last_fault"], "it named replica 9, which this fleet does not have");
    assert_eq!(proxy.metric("headworks_proxy_policy_faults_total{slot=\"placement\"}").await, 1.0);
}

#[tokio::test]
async fn a_denial_is_the_clients_to_read() {
    let only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    put(&proxy, "limits", denying("busy")).await;
    insta::assert_snapshot!(shown(proxy.chat().await).await);
    let decision = decided(&proxy).await;
    assert_eq!(
        (&decision["verdict"], &decision["outcome"], &decision["status"]),
        (&"deny".into(), &"refused".into(), &429.into())
    );
}

#[tokio::test]
async fn an_admit_hook_that_traps_lets_nobody_in() {
    let only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    put(&proxy, "limits", admit_trapping("broken")).await;
    insta::assert_snapshot!(shown(proxy.chat().await).await);
}

#[tokio::test]
async fn on_error_fallback_lets_it_in() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("broken.wasm");
    std::fs::write(&component, admit_trapping("broken")).unwrap();
    let mut only = Replica::start().await;
    let policy = format!("[[policy]]\nslot = \"limits\"\ncomponent = {component:?}\non_error = \"fallback\"\n");
    let proxy = Proxy::start(&format!("{policy}{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    only.answer_all("{}");
    assert_eq!(proxy.chat().await.status(), 200);
    assert_eq!(decided(&proxy).await["faults"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_held_request_goes_when_there_is_room() {
    let mut only = Replica::start().await;
    let proxy = Proxy::start(&format!("{ONE_THREAD}limits.queue_max = 1\n{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    put(&proxy, "placement", placing("holds", &hold_while_first_is_busy())).await;
    let (first, second, ()) = tokio::join!(proxy.chat(), proxy.chat(), async {
        let asked = only.asked().await;
        proxy.until("fleet", |fleet| fleet["regions"][0]["queue"] == 1).await;
        assert!(only.is_idle(), "the second waits");
        insta::assert_snapshot!(shown(proxy.chat().await).await);
        asked.answer(200, "one");
        only.asked().await.answer(200, "two");
    });
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
}

#[tokio::test]
async fn a_held_request_is_not_asked_about_while_nothing_changes() {
    let mut only = Replica::start().await;
    let proxy = Proxy::start(&format!("{ONE_THREAD}{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    put(&proxy, "placement", placing("holds", &hold_while_first_is_busy())).await;
    let (_, _, _, ()) = tokio::join!(proxy.chat(), proxy.chat(), proxy.chat(), async {
        let asked = only.asked().await;
        proxy.until("fleet", |fleet| fleet["regions"][0]["queue"] == 2).await;
        // The view that holds both is out after one look.
        only.looked(2).await;
        let decisions = proxy.metric("headworks_proxy_decide_seconds_count").await;
        only.looked(5).await;
        assert_eq!(proxy.metric("headworks_proxy_decide_seconds_count").await, decisions);
        asked.answer(200, "one");
        only.asked().await.answer(200, "two");
        only.asked().await.answer(200, "three");
    });
}

#[tokio::test]
async fn a_request_is_not_held_for_ever() {
    let mut only = Replica::start().await;
    let proxy = Proxy::start(&format!("limits.hold_ms_max = 1\n{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    put(&proxy, "placement", placing("holds", &hold_while_first_is_busy())).await;
    let (_, ()) = tokio::join!(proxy.chat(), async {
        let asked = only.asked().await;
        insta::assert_snapshot!(shown(proxy.chat().await).await);
        asked.answer(200, "{}");
    });
}

#[tokio::test]
async fn a_request_is_forwarded_to_another_region_once() {
    let (mut here, mut there) = (Replica::start().await, Replica::start().await);
    let eu = Proxy::start(&format!(
        "[[region_peer]]\nname = \"elsewhere\"\ndata_url = \"http://127.0.0.1:1\"\nadmin_url = \"http://127.0.0.1:1\"\n{}",
        replicas([&there])
    ))
    .await;
    eu.until_healthy(1).await;
    let peer = format!(
        "[[region_peer]]\nname = \"eu\"\ndata_url = \"http://{}\"\nadmin_url = \"http://{}\"\n",
        eu.bound.data, eu.bound.admin
    );
    let us = Proxy::start(&format!("{peer}{}", replicas([&here]))).await;
    us.until_healthy(1).await;
    let fleet = us.until("fleet", |fleet| fleet["regions"][1]["reachable"] == true).await;
    assert_eq!((&fleet["regions"][1]["name"], &fleet["regions"][1]["available"]), (&"eu".into(), &1.into()));
    for proxy in [&us, &eu] {
        put(proxy, "placement", placing("away", &region(1))).await;
    }
    let (answer, ()) = tokio::join!(us.chat(), async {
        let asked = there.asked().await;
        assert_eq!(asked.header("x-headworks-hop"), Some("1"));
        asked.answer(200, "from eu");
    });
    assert_eq!(text(answer).await, "from eu");
    assert!(here.is_idle());
    let sent = decided(&us).await;
    assert_eq!((&sent["verdict"], &sent["target"]), (&"region".into(), &"eu".into()));
    let served = decided(&eu).await;
    assert_eq!(served["policy"], "native-least-load");
    assert!(served["faults"][0].as_str().unwrap().contains("already forwarded"));
}

#[tokio::test]
async fn a_region_that_is_gone_is_passed_over() {
    let mut here = Replica::start().await;
    let gone =
        "[[region_peer]]\nname = \"eu\"\ndata_url = \"http://127.0.0.1:1\"\nadmin_url = \"http://127.0.0.1:1\"\n";
    let proxy = Proxy::start(&format!("{gone}{}", replicas([&here]))).await;
    proxy.until_healthy(1).await;
    put(&proxy, "placement", placing("away", &region(1))).await;
    here.answer_all("{}");
    assert_eq!(proxy.chat().await.status(), 200);
    let decision = decided(&proxy).await;
    assert_eq!((&decision["target"], &decision["attempts"]), (&"r0".into(), &2.into()));
}

#[tokio::test]
async fn a_configured_component_that_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("garbage.wasm");
    std::fs::write(&component, "garbage").unwrap();
    let error = Proxy::refused(&format!("[[policy]]\nslot = \"placement\"\ncomponent = {component:?}\n")).await;
    assert!(
        error.starts_with(&format!("policy: {}: this is not a WebAssembly component", component.display())),
        "{error}"
    );
    let error = Proxy::refused("[[policy]]\nslot = \"placement\"\ncomponent = \"/no/such.wasm\"\n").await;
    assert_eq!(error, "policy: slot placement: cannot read /no/such.wasm: No such file or directory (os error 2)");
}
