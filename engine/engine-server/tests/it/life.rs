//! Starting, stopping, and clients that leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine_server::{Config, Error};
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use telemetry::Telemetry;

use crate::harness::{Engine, config, config_of, frames, fresh_checkpoint};

fn long_stream() -> String {
    json!({ "model": "tiny", "prompt": "Hello", "max_tokens": 1900, "stream": true, "temperature": 0 }).to_string()
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_blocks() {
    let engine = Engine::start().await;
    let response = engine.send(engine.request(Method::POST, "/v1/completions", long_stream())).await;
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    let state = engine.state().await;
    assert!(state.running == 1 && state.kv_blocks_used > 0, "{state:?}");
    drop(body);
    let state = engine.state_until(|state| state.running == 0).await;
    assert_eq!((state.kv_blocks_used, state.waiting), (0, 0));
    assert!(state.output_tokens_total < 1900, "it was not run to its end");
    let cancelled = "headworks_engine_requests_total{endpoint=\"completions\",outcome=\"cancelled\"}";
    assert_eq!(engine.metric(cancelled).await, 1.0);
    assert_eq!(engine.metric("headworks_engine_requests_in_flight").await, 0.0);
}

#[tokio::test]
async fn a_client_that_does_not_stream_may_leave_too() {
    let engine = Engine::start().await;
    let whole = json!({ "model": "tiny", "prompt": "Hello", "max_tokens": 1900, "temperature": 0 }).to_string();
    let request = engine.request(Method::POST, "/v1/completions", whole);
    let waiting = engine.send(request);
    tokio::select! {
        _ = waiting => panic!("the answer takes long"),
        _ = engine.state_until(|state| state.running == 1) => {}
    }
    let state = engine.state_until(|state| state.running == 0).await;
    assert_eq!(state.kv_blocks_used, 0);
    assert!(state.output_tokens_total < 1900, "it was not run to its end");
}

#[tokio::test]
async fn a_stop_lets_streams_finish() {
    let mut engine = Engine::start().await;
    let response = engine.send(engine.request(Method::POST, "/v1/completions", long_stream())).await;
    let address = engine.address;
    engine.begin_stop();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let frames = frames(std::str::from_utf8(&text).unwrap());
    assert_eq!(frames.last().unwrap()["choices"][0]["finish_reason"], "length");
    engine.end().await.unwrap();
    tokio::net::TcpStream::connect(address).await.expect_err("it no longer listens");
}

#[tokio::test]
async fn a_stop_cuts_off_what_takes_too_long() {
    let mut engine = Engine::start_with(Config { drain_wait_max: Duration::ZERO, ..config() }).await;
    let response = engine.send(engine.request(Method::POST, "/v1/completions", long_stream())).await;
    engine.begin_stop();
    response.into_body().collect().await.expect_err("the stream broke off");
    engine.end().await.unwrap();
}

#[tokio::test]
async fn connections_are_bounded() {
    let engine = Engine::start_with(Config { connections_max: 1, ..config() }).await;
    assert_eq!(engine.metric("headworks_engine_connections").await, 1.0);
    // The client keeps its connection; a second one is not served until the first is closed.
    let second = tokio::net::TcpStream::connect(engine.address).await.unwrap();
    second.writable().await.unwrap();
    second.try_write(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    for _ in 0..20 {
        engine.get("/health").await.ok();
    }
    let mut byte = [0];
    let nothing = second.try_read(&mut byte).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

async fn why_not(config: Config) -> Error {
    let ready = |_: SocketAddr| panic!("it must not start");
    let served = engine_server::serve(config, Arc::new(Telemetry::off()), ready, std::future::pending());
    served.await.unwrap_err()
}

#[tokio::test]
async fn an_engine_that_cannot_start_says_why() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap();
    assert!(matches!(why_not(Config { listen, ..config() }).await, Error::Listen { address, .. } if address == listen));

    assert_eq!(why_not(Config { kv_blocks: 0, ..config() }).await.to_string(), "kv_blocks must be at least 1");

    let dir = fresh_checkpoint();
    let without = |name: &str| std::fs::remove_file(dir.path().join(name)).unwrap();
    std::fs::write(dir.path().join("chat_template.jinja"), "{% for %}").unwrap();
    let error = why_not(config_of(dir.path())).await;
    assert!(error.to_string().contains("chat template"), "{error}");
    without("chat_template.jinja");
    std::fs::write(dir.path().join("generation_config.json"), "{").unwrap();
    let error = why_not(config_of(dir.path())).await;
    assert!(error.to_string().contains("generation_config.json"), "{error}");
    without("generation_config.json");
    without("model.safetensors");
    assert!(matches!(why_not(config_of(dir.path())).await, Error::Model(_)));
    without("tokenizer.json");
    let error = why_not(config_of(dir.path())).await;
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}
