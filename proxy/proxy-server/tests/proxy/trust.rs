//! Policies that misbehave: contained, told of, and never the client's trouble where on_error says so.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::fixture::component::{GAUGE, Guest, IS_REAL, LOG, MODEL};
use crate::fixture::guest::{admit_trapping, replica};
use crate::fixture::{Proxy, Replica, replicas, text};
use crate::lifecycle::{done, slot};

/// What becomes of a request when a place policy does this for real requests: the fault as the decision tells it.
async fn fault_of(lines: &str, guest: &Guest) -> String {
    let mut only = Replica::start().await;
    let proxy = Proxy::start(&format!("{lines}\n{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    only.answer_all("{}");
    done(&proxy, Method::PUT, "placement", guest.bytes()).await;
    assert_eq!(proxy.chat().await.status(), 200, "the fallback serves it");
    let decision = proxy.until("decisions", |all| all[0]["outcome"] == "finished").await[0].clone();
    assert_eq!((&decision["policy"], &decision["verdict"]), (&"native-least-load".into(), &"replica".into()));
    let placement = slot(&proxy, "placement").await;
    assert_eq!(placement["versions"][0]["faults_total"], 1);
    assert_eq!(proxy.metric("headworks_proxy_policy_faults_total{slot=\"placement\"}").await, 1.0);
    let [fault] = &decision["faults"].as_array().unwrap()[..] else { panic!("{decision}") };
    let last_fault = placement["versions"][0]["last_fault"].as_str().unwrap();
    assert!(fault.as_str().unwrap().ends_with(last_fault), "{fault} {last_fault}");
    last_fault.to_owned()
}

/// Does this for real requests; places on replica 0 otherwise.
fn for_real(imports: &str, code: &str) -> Guest {
    let otherwise = replica(0);
    Guest::placing(
        "moody",
        &format!("{MODEL}\n{imports}"),
        &format!("(if ({IF}) (then {code})) {otherwise}", IF = real()),
    )
}

fn real() -> String {
    format!("block (result i32) {IS_REAL}")
}

#[tokio::test]
async fn a_trap_is_contained() {
    let fault = fault_of("", &for_real("", "unreachable")).await;
    assert!(fault.contains("unreachable"), "{fault}");
}

#[tokio::test]
async fn a_loop_is_ended() {
    let fault = fault_of("", &for_real("", "(loop $again (br $again))")).await;
    assert_eq!(fault, "policy ran past its deadline of 5 ms");
}

#[tokio::test]
async fn a_loop_ends_with_its_fuel_where_fuel_is_metered() {
    let lines = "limits.policy_fuel_max = 10000\nlimits.policy_call_ms_max = 60000";
    let fault = fault_of(lines, &for_real("", "(loop $again (br $again))")).await;
    assert_eq!(fault, "policy ran out of fuel (10000)");
}

#[tokio::test]
async fn memory_is_bounded() {
    let fault = fault_of("", &for_real("", "(drop (memory.grow (i32.const 2000)))")).await;
    assert_eq!(fault, format!("policy asked for more than {} bytes of memory", 64 << 20));
}

#[tokio::test]
async fn a_panics_message_is_shown_and_bounded() {
    // Ten thousand letters, as an error line, and then the trap that a panic is.
    let code = "(memory.fill (i32.const 4096) (i32.const 97) (i32.const 10000))
        (call $log (i32.const 3) (i32.const 4096) (i32.const 10000)) unreachable";
    let fault = fault_of("", &for_real(LOG, code)).await;
    assert!(fault.starts_with("policy trapped: aaaa") && fault.len() < 1000, "{} bytes: {fault}", fault.len());
}

#[tokio::test]
async fn a_denial_that_is_none_is_a_fault() {
    let code = "(i32.store16 (i32.const 1028) (i32.const 200)) (br 1 (i32.const 3))";
    let fault = fault_of("", &for_real("", code)).await;
    assert_eq!(fault, "policy gave an answer that cannot be used: a denial's status must be 400 to 599, not 200");
}

#[tokio::test]
async fn a_replica_that_drains_takes_nothing_though_a_policy_names_it() {
    let (first, mut second) = (Replica::start().await, Replica::start().await);
    let proxy = Proxy::over(&[&first, &second]).await;
    second.answer_all("{}");
    first.set_state(r#"{"draining":true}"#);
    proxy.until("fleet", |fleet| fleet["regions"][0]["replicas"][0]["draining"] == true).await;
    done(&proxy, Method::PUT, "placement", crate::fixture::guest::placing("stubborn", &replica(0))).await;
    assert_eq!(proxy.chat().await.status(), 200);
    let decision = proxy.until("decisions", |all| all[0]["outcome"] == "finished").await[0].clone();
    assert_eq!(decision["target"], "r1");
    assert_eq!(decision["faults"][0], "placement (stubborn 1.2.3): it named replica 0, which takes no work now");
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_the_request_served() {
    // Ten megabytes in lines of a thousand bytes; then counts that they are all written.
    let code = "(local.set $n (i32.const 0))
        (loop $again
          (call $log (i32.const 1) (i32.const 4096) (i32.const 1000))
          (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 10000))))
        (call $gauge (i32.const 0) (i32.const 5) (f64.convert_i32_u (local.get $n)))";
    let mut guest = for_real(&format!("{LOG}\n{GAUGE}"), code);
    guest.body = guest.body.replacen("(result i32)\n", "(result i32) (local $n i32)\n", 1);
    let mut only = Replica::start().await;
    // Ten thousand calls of the host take a while where everything is slow.
    let proxy = Proxy::start(&format!("limits.policy_call_ms_max = 10000\n{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    only.answer_all("{}");
    done(&proxy, Method::PUT, "placement", guest.bytes()).await;
    assert_eq!(proxy.chat().await.status(), 200);
    assert_eq!(proxy.metric("headworks_proxy_policy_gauge{name=\"moody\",slot=\"placement\"}").await, 10_000.0);
    let decision = proxy.until("decisions", |all| all[0]["outcome"] == "finished").await[0].clone();
    assert_eq!((&decision["policy"], &decision["faults"]), (&"moody".into(), &serde_json::json!([])));
}

/// A proxy with a trapping admit policy whose faults mean this.
async fn answered(on_error: &str) -> (u16, Value) {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("traps.wasm");
    std::fs::write(&component, admit_trapping("traps")).unwrap();
    let mut only = Replica::start().await;
    let policy = format!("[[policy]]\nslot = \"limits\"\ncomponent = {component:?}\non_error = {on_error}\n");
    let proxy = Proxy::start(&format!("{policy}{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    only.answer_all("{}");
    let began = Instant::now();
    let answer = proxy.chat().await;
    assert!(began.elapsed() < Duration::from_secs(60), "nobody waits for a policy that is gone");
    let status = answer.status().as_u16();
    text(answer).await;
    let on_error = slot(&proxy, "limits").await["on_error"].clone();
    (status, on_error)
}

#[tokio::test]
async fn a_fault_means_what_is_configured_for_its_hook() {
    let both = |word: &str| serde_json::json!({"admit": word, "place": word});
    assert_eq!(answered("\"reject\"").await, (503, both("reject")));
    assert_eq!(answered("\"fallback\"").await, (200, both("fallback")));
    assert_eq!(answered("{ admit = \"fallback\" }").await, (200, both("fallback")));
    assert_eq!(answered("{ place = \"reject\" }").await, (503, both("reject")));
}
