//! Servers of other makes: where each tells its load, and what is made of it when it does not.

use serde_json::{Value, json};

use crate::fixture::{Proxy, Replica};

const VLLM: &str = include_str!("../../src/fleet/scrape/vllm.txt");

async fn over(kind: &str, replica: &Replica) -> Proxy {
    let url = replica.address;
    Proxy::start(&format!("[[replica]]\nname = \"r0\"\nurl = \"http://{url}\"\nkind = \"{kind}\"\n")).await
}

fn first(fleet: &Value) -> &Value {
    &fleet["regions"][0]["replicas"][0]
}

#[tokio::test]
async fn a_vllm_servers_load_is_read_from_its_metrics() {
    let replica = Replica::start().await;
    replica.set_metrics(Some(VLLM));
    let proxy = over("vllm", &replica).await;
    let fleet = proxy.until("fleet", |fleet| first(fleet)["running"] == 3).await;
    let shown = first(&fleet);
    let load = (&shown["waiting"], &shown["kv_blocks_used"], &shown["kv_blocks_total"]);
    assert_eq!(load, (&json!(7), &json!(6980), &json!(27918)));
    assert_eq!((&shown["kind"], &shown["load_error"]), (&json!("vllm"), &Value::Null));
    replica.set_metrics(Some(&VLLM.replace("} 3.0", "} 9.0")));
    proxy.until("fleet", |fleet| first(fleet)["running"] == 9).await;
}

#[tokio::test]
async fn one_whose_load_cannot_be_read_is_well_all_the_same() {
    let replica = Replica::start().await;
    let proxy = over("vllm", &replica).await;
    let fleet = proxy.until("fleet", |fleet| first(fleet)["health"] == "healthy").await;
    assert_eq!(first(&fleet)["load_error"], "GET /metrics answered 404 Not Found");
    replica.set_metrics(Some("sglang:num_running_reqs 1\n"));
    let said = "GET /metrics has no vllm:num_requests_running; is the replica's `kind` right?";
    proxy.until("fleet", |fleet| first(fleet)["load_error"] == said).await;
    replica.set_metrics(Some(VLLM));
    proxy.until("fleet", |fleet| first(fleet)["load_error"].is_null() && first(fleet)["running"] == 3).await;
    replica.set_healthy(false);
    proxy.until_healthy(0).await;
}

#[tokio::test]
async fn the_others_are_read_too() {
    for (kind, text, running, waiting) in [
        ("sglang", include_str!("../../src/fleet/scrape/sglang.txt"), 12, 4),
        ("llamacpp", include_str!("../../src/fleet/scrape/llamacpp.txt"), 2, 1),
        ("tgi", include_str!("../../src/fleet/scrape/tgi.txt"), 8, 3),
    ] {
        let replica = Replica::start().await;
        replica.set_metrics(Some(text));
        let proxy = over(kind, &replica).await;
        let is_read = |fleet: &Value| first(fleet)["running"] == running && first(fleet)["waiting"] == waiting;
        proxy.until("fleet", is_read).await;
    }
}

#[tokio::test]
async fn one_of_ours_pushes_its_state_between_two_looks() {
    let replica = Replica::start().await;
    let pushes = replica.pushes();
    let url = replica.address;
    let lines = format!("limits.poll_interval_ms = 3600000\n[[replica]]\nname = \"r0\"\nurl = \"http://{url}\"\n");
    let proxy = Proxy::start_with(&lines).await;
    proxy.until_healthy(1).await;
    pushes.send("data: {\"running\":5}\n\n");
    proxy.until("fleet", |fleet| first(fleet)["running"] == 5).await;
    pushes.send("data: {\"running\":6}\n\ndata: {\"running\":7}\n\n");
    proxy.until("fleet", |fleet| first(fleet)["running"] == 7).await;
}
