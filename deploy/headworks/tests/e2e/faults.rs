//! A client that leaves and a replica that dies: nothing is leaked, nothing else stops.

use std::io::Read;
use std::sync::mpsc::channel;

use crate::http::{self, chat, open_stream};
use crate::processes::{Server, engine, metric, proxy, proxy_with, slow_engine, wait_for};

const CHAT: &str = "/v1/chat/completions";
/// Greedy text after this does not end by itself before so many tokens.
const ENDLESS: &str = "hello";
const LONG: u32 = 1500;

fn read_some(stream: &mut impl Read) -> String {
    let mut bytes = [0; 256];
    let count = stream.read(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

fn idle(engine: &Server) -> Option<()> {
    let state = engine.json("/state");
    (state["running"] == 0 && state["waiting"] == 0 && state["kv_blocks_used"] == 0).then_some(())
}

#[test]
fn a_client_that_leaves_mid_stream_frees_the_engines_blocks() {
    let engine = slow_engine();
    let proxy = proxy(&[&engine.url], "least-load", "");
    let mut stream = open_stream(&format!("{}{CHAT}", proxy.url), &chat(ENDLESS, LONG, true));
    assert!(read_some(&mut stream).starts_with("data:"));
    let state = engine.json("/state");
    assert!(state["kv_blocks_used"].as_u64().unwrap() > 0, "{state}");
    drop(stream);
    wait_for("the engine to free its blocks", || idle(&engine));
    let written = engine.json("/state")["output_tokens_total"].as_u64().unwrap();
    assert!(written < u64::from(LONG), "the engine stopped early, after {written} tokens");
}

/// A greedy stream as a client has it that asks for the usage too, without what names it.
fn anonymous(stream: &str) -> String {
    let named = stream.split_inclusive("\n\n").filter_map(|event| {
        let data = event.strip_prefix("data: ")?.trim_end();
        let Ok(mut chunk) = serde_json::from_str::<serde_json::Value>(data) else { return Some(data.to_owned()) };
        chunk["id"] = "".into();
        chunk["created"] = 0.into();
        Some(chunk.to_string())
    });
    named.collect::<Vec<_>>().join("\n")
}

fn greedy(max_tokens: u32) -> serde_json::Value {
    let mut body = chat(ENDLESS, max_tokens, true);
    body["temperature"] = 0.into();
    body["stream_options"] = serde_json::json!({ "include_usage": true });
    body
}

#[test]
fn a_stream_whose_replica_is_killed_goes_on_elsewhere_as_if_nothing_had_happened() {
    let mut engines = [slow_engine(), slow_engine()];
    let body = greedy(400);
    let mut undisturbed = String::new();
    open_stream(&format!("{}{CHAT}", engines[0].url), &body).read_to_string(&mut undisturbed).unwrap();
    let proxy = proxy(&[&engines[0].url, &engines[1].url], "least-load", "");
    let mut stream = open_stream(&format!("{}{CHAT}", proxy.url), &body);
    let mut text = read_some(&mut stream);
    let busy = engines.iter().position(|engine| engine.json("/state")["running"] == 1).expect("one of them runs it");
    engines[busy].kill();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(anonymous(&text), anonymous(&undisturbed));
    let ids: std::collections::BTreeSet<&str> = text.split("\"id\":").skip(1).map(|rest| &rest[..42]).collect();
    assert_eq!(ids.len(), 1, "one stream, one name: {ids:?}");
    assert!(!text.contains(": headworks"), "the comments are not the client's to see");
    let page = http::get(&format!("{}/metrics", proxy.admin)).text();
    assert_eq!(metric(&page, "headworks_proxy_midstream_deaths_total"), Some(1.0));
    assert_eq!(metric(&page, "headworks_proxy_resumes_total{result=\"resumed\"}"), Some(1.0));
    let decision = &proxy.admin_json("/admin/v1/decisions")["decisions"][0];
    assert_eq!(
        (&decision["outcome"], &decision["attempts"], &decision["output_tokens"]),
        (&"finished".into(), &2.into(), &400.into())
    );
    assert_eq!(decision["target"], format!("us-{}", 1 - busy));
}

#[test]
fn a_stream_that_may_not_go_on_ends_with_a_clear_error_and_the_fleet_goes_on() {
    let mut engines = [slow_engine(), slow_engine()];
    let proxy = proxy_with(&[&engines[0].url, &engines[1].url], "least-load", "resume = \"off\"\n", "");
    let mut stream = open_stream(&format!("{}{CHAT}", proxy.url), &chat(ENDLESS, LONG, true));
    assert!(read_some(&mut stream).starts_with("data:"));
    let busy = engines.iter().position(|engine| engine.json("/state")["running"] == 1).expect("one of them runs it");
    engines[busy].kill();
    let mut rest = String::new();
    // The stream may end with the error event or, after it, be cut: what matters is what was said.
    let _ = stream.read_to_string(&mut rest);
    assert!(rest.contains("\"error\""), "the stream says that it broke: …{}", &rest[rest.len().saturating_sub(300)..]);
    wait_for("the death to be counted", || {
        let page = http::get(&format!("{}/metrics", proxy.admin)).text();
        (metric(&page, "headworks_proxy_midstream_deaths_total")? >= 1.0).then_some(())
    });
    let after = http::post(&format!("{}{CHAT}", proxy.url), chat("hello", 2, false).to_string().as_bytes());
    assert_eq!(after.status, 200, "the other replica serves: {}", after.text());
}

#[test]
fn a_dead_replica_costs_no_request_that_has_not_begun() {
    let (mut doomed, other) = (engine(&[]), engine(&[]));
    let proxy = proxy(&[&doomed.url, &other.url], "round-robin", "");
    doomed.kill();
    for number in 0..20 {
        let answer = http::post(&format!("{}{CHAT}", proxy.url), chat("hello", 2, false).to_string().as_bytes());
        assert_eq!(answer.status, 200, "request {number}: {}", answer.text());
    }
}

#[test]
fn with_every_replica_dead_the_client_is_told_when_to_come_back() {
    let mut only = engine(&[]);
    let proxy = proxy(&[&only.url], "round-robin", "");
    only.kill();
    let answer = wait_for("the proxy to notice", || {
        let answer = http::post(&format!("{}{CHAT}", proxy.url), chat("hello", 2, false).to_string().as_bytes());
        (answer.status == 503).then_some(answer)
    });
    assert!(answer.retry_after.is_some());
    assert!(answer.json()["error"]["message"].is_string());
}

#[test]
fn a_proxy_that_is_told_to_end_finishes_its_streams_first() {
    let engine = slow_engine();
    let mut proxy = proxy(&[&engine.url], "least-load", "");
    let mut stream = open_stream(&format!("{}{CHAT}", proxy.url), &chat(ENDLESS, 300, true));
    let mut text = read_some(&mut stream);
    let (ended, end) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| ended.send(proxy.stop()));
        stream.read_to_string(&mut text).unwrap();
        assert!(end.recv().unwrap(), "it ended well");
    });
    assert!(text.trim_end().ends_with("data: [DONE]"), "the stream was whole");
}
