//! Starting, stopping, and clients that leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine_server::{Config, Error};
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use telemetry::Telemetry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Engine, PATIENCE, config, config_of, edit, frames, fresh_checkpoint};

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

/// Who asks on a connection of their own learns that it drains, and where not to send requests.
#[tokio::test]
async fn a_stop_is_seen_while_requests_finish() {
    let mut engine = Engine::start().await;
    let body = json!({ "model": "tiny", "prompt": "Hello", "max_tokens": 5 }).to_string();
    let ask = |line: &str, body: &str| {
        let length = body.len();
        format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    // In flight for as long as we like: its last byte comes when all was asked.
    let whole = ask("POST /v1/completions", &body);
    let (most, last) = whole.split_at(whole.len() - 1);
    let mut slow = tokio::net::TcpStream::connect(engine.address).await.unwrap();
    slow.write_all(most.as_bytes()).await.unwrap();
    let begun = async { while engine.metric("headworks_engine_requests_in_flight").await < 1.0 {} };
    tokio::time::timeout(PATIENCE, begun).await.expect("it must begin");

    engine.begin_stop();
    let draining = async {
        loop {
            let health = raw(&engine, ask("GET /health", "").as_bytes()).await;
            if health.starts_with("HTTP/1.1 503 ") {
                return health;
            }
        }
    };
    let health = tokio::time::timeout(PATIENCE, draining).await.expect("it must say so");
    assert!(health.ends_with(r#"{"status":"draining"}"#), "{health}");
    let state = raw(&engine, ask("GET /state", "").as_bytes()).await;
    assert!(state.contains(r#""draining":true"#), "{state}");
    let refused = raw(&engine, whole.as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(refused.contains(r#""code":"stopping""#), "{refused}");

    slow.write_all(last.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let address = engine.address;
    engine.end().await.unwrap();
    tokio::net::TcpStream::connect(address).await.expect_err("it no longer listens");
}

#[tokio::test]
async fn a_stop_waits_for_no_connection_without_a_request() {
    let wait = Duration::from_hours(1);
    let mut engine = Engine::start_with(Config { drain_wait_max: wait, head_wait_max: wait, ..config() }).await;
    let mut stream = tokio::net::TcpStream::connect(engine.address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
    engine.begin_stop();
    engine.end().await.unwrap();
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

/// Sends bytes on a connection of its own, and reads until the engine closes it.
async fn raw(engine: &Engine, bytes: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(engine.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("it must close").unwrap();
    answer
}

#[tokio::test]
async fn slow_clients_are_not_waited_for_long() {
    let wait = Duration::from_millis(50);
    let engine = Engine::start_with(Config { head_wait_max: wait, body_wait_max: wait, ..config() }).await;
    assert_eq!(raw(&engine, b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n").await, "");
    let answer = raw(&engine, b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("body_too_slow"), "{answer}");
}

#[tokio::test]
async fn heads_are_bounded() {
    let engine = Engine::start_with(Config { head_bytes_max: 8192, ..config() }).await;
    let head = format!("GET /health HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(10_000));
    assert!(raw(&engine, head.as_bytes()).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn header_lines_are_bounded() {
    let engine = Engine::start_with(Config { headers_max: 128, ..config() }).await;
    let head = |lines: usize| {
        let lines: String = (2..lines).map(|line| format!("x-{line}: x\r\n")).collect();
        format!("GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n")
    };
    assert!(raw(&engine, head(128).as_bytes()).await.starts_with("HTTP/1.1 200 "));
    assert!(raw(&engine, head(129).as_bytes()).await.starts_with("HTTP/1.1 431 "));
}

/// A norm so large that its products are no numbers: each request is told, and the engine goes on.
#[tokio::test]
async fn a_model_that_computes_nonsense_is_the_servers_fault() {
    let dir = fresh_checkpoint();
    let path = dir.path().join("model.safetensors");
    let mut weights = std::fs::read(&path).unwrap();
    let header = usize::try_from(u64::from_le_bytes(weights[..8].try_into().unwrap())).unwrap();
    let tensors: serde_json::Value = serde_json::from_slice(&weights[8..8 + header]).unwrap();
    let offset = |end: usize| tensors["model.norm.weight"]["data_offsets"][end].as_u64().unwrap() as usize;
    weights[8 + header + offset(0)..8 + header + offset(1)].fill(0x7f);
    std::fs::write(&path, weights).unwrap();
    let engine = Engine::start_with(config_of(dir.path())).await;
    let ask = |stream: bool| json!({ "model": "tiny", "prompt": "Hello", "stream": stream });
    let whole = engine.post("/v1/completions", &ask(false)).await;
    assert_eq!(whole.status, 500);
    assert_eq!(whole.json()["error"]["type"], "server_error");
    let stream = engine.post("/v1/completions", &ask(true)).await.text();
    insta::assert_snapshot!(stream);
    let failed = "headworks_engine_requests_total{endpoint=\"completions\",outcome=\"failed\"}";
    assert_eq!(engine.metric(failed).await, 2.0);
    assert_eq!(engine.get("/health").await.status, 200);
    assert_eq!(engine.state().await.kv_blocks_used, 0);
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

    assert_eq!(
        why_not(Config { kv_blocks: 0, ..config() }).await.to_string(),
        "kv_blocks (--kv-blocks) must be at least 1"
    );
    assert_eq!(
        why_not(Config { step_tokens_max: 4, running_max: 8, ..config() }).await.to_string(),
        "step_tokens_max (--max-num-batched-tokens) must be at least running_max (--max-num-seqs)"
    );
    assert_eq!(why_not(Config { inbox_max: 0, ..config() }).await.to_string(), "inbox_max must be at least 1");

    let dir = fresh_checkpoint();
    let without = |name: &str| std::fs::remove_file(dir.path().join(name)).unwrap();
    std::fs::write(dir.path().join("chat_template.jinja"), "{% for %}").unwrap();
    let error = why_not(config_of(dir.path())).await;
    let check_broken = |error: Error, file: &str| {
        let beginning = format!("{}: the chat template: syntax error: ", dir.path().join(file).display());
        let message = error.to_string();
        assert!(message.starts_with(&beginning) && message.lines().count() == 1, "{message}");
    };
    check_broken(error, "chat_template.jinja");
    without("chat_template.jinja");
    edit(dir.path(), "tokenizer_config.json", |config| config["chat_template"] = json!("{% for %}"));
    check_broken(why_not(config_of(dir.path())).await, "tokenizer_config.json");
    edit(dir.path(), "tokenizer_config.json", |config| config["chat_template"] = json!("{{ messages }}"));
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

#[tokio::test]
async fn a_follower_is_pushed_the_state_until_the_engine_drains() {
    let mut engine = Engine::start().await;
    let response = engine.send(engine.request(Method::GET, "/state/stream?every_ms=20", "")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    // The state as it is, and again though nothing changes.
    for _ in 0..2 {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let state = frame.strip_prefix(b"data: ").unwrap();
        let state: openai_api::ReplicaState = serde_json::from_slice(state).unwrap();
        assert_eq!((state.model.as_str(), state.draining), ("tiny", false));
    }
    engine.begin_stop();
    let rest = body.collect().await.unwrap().to_bytes();
    assert!(std::str::from_utf8(&rest).unwrap().contains("\"draining\":true"));
    engine.end().await.unwrap();
}
