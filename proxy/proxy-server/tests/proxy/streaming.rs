//! Streams pass frame by frame, end when the client leaves, and are counted.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fixture::{Proxy, Replica, replicas};

const ROLE: &str =
    "data: {\"id\":\"c1\",\"model\":\"tiny\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
const HELLO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const STREAM: &str = r#"{"model":"tiny","stream":true,"messages":[]}"#;

async fn next(body: &mut Incoming) -> String {
    let frame = body.frame().await.expect("the stream goes on").expect("the stream is whole");
    String::from_utf8(frame.into_data().expect("data").to_vec()).unwrap()
}

#[tokio::test]
async fn a_frame_arrives_while_the_replica_still_holds_the_rest() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, frames) = tokio::join!(proxy.post("/v1/chat/completions", STREAM), async {
        let frames = replica.asked().await.stream();
        frames.send(ROLE);
        frames
    });
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await, ROLE);
    // Each is sent only when the one before has come out: nothing is held back.
    for event in [HELLO, HELLO, USAGE, DONE] {
        frames.send(event);
        assert_eq!(next(&mut body).await, event);
    }
    drop(frames);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_finished_stream_is_counted() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, ()) = tokio::join!(proxy.post("/v1/chat/completions", STREAM), async {
        let frames = replica.asked().await.stream();
        [ROLE, HELLO, HELLO, USAGE, DONE].iter().for_each(|event| frames.send(event));
    });
    answer.into_body().collect().await.unwrap();
    let decisions = proxy.until("decisions", |all| all[0]["outcome"] == "finished").await;
    let decision = &decisions[0];
    assert_eq!(decision["prompt_tokens"], 12);
    assert_eq!(decision["output_tokens"], 34);
    assert_eq!(decision["stream"], true);
    assert_eq!(decision["target"], "r0");
    assert_eq!(decision["policy"], "native-least-load");
    assert!(decision["ttft_ms"].as_f64().unwrap() <= decision["duration_ms"].as_f64().unwrap());
    assert_eq!(proxy.metric("headworks_proxy_requests_total{outcome=\"finished\"}").await, 1.0);
    assert_eq!(proxy.metric("headworks_proxy_tokens_total{kind=\"output\"}").await, 34.0);
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_stream_ends_the_work_at_once() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, frames) = tokio::join!(proxy.post("/v1/chat/completions", STREAM), async {
        let frames = replica.asked().await.stream();
        frames.send(HELLO);
        frames
    });
    let mut body = answer.into_body();
    next(&mut body).await;
    drop(body);
    frames.left().await;
    let decisions = proxy.until("decisions", |all| all[0]["outcome"] == "cancelled").await;
    assert_eq!(decisions[0]["output_tokens"], 1);
    proxy.until("fleet", |fleet| fleet["regions"][0]["replicas"][0]["in_flight"] == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_byte_ends_the_work_at_once() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let mut asked = {
        let request = proxy.chat();
        tokio::pin!(request);
        tokio::select! {
            _ = &mut request => panic!("nobody answered"),
            asked = replica.asked() => asked,
        }
    };
    asked.left().await;
    proxy.until("decisions", |all| all[0]["outcome"] == "cancelled").await;
}

#[tokio::test]
async fn a_replica_that_dies_in_mid_stream_is_told_as_an_event() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, frames) = tokio::join!(proxy.post("/v1/chat/completions", STREAM), async {
        let frames = replica.asked().await.stream();
        frames.send(HELLO);
        frames
    });
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await, HELLO);
    frames.break_off();
    let last = next(&mut body).await;
    let event: serde_json::Value = serde_json::from_str(last.strip_prefix("data: ").unwrap().trim()).unwrap();
    assert_eq!(
        event,
        json!({"error": {
            "message": "the replica broke off in the middle of its answer; try again",
            "type": "server_error", "param": null, "code": "replica_failed",
        }})
    );
    assert!(body.frame().await.is_none(), "the stream ends in order");
    assert_eq!(proxy.metric("headworks_proxy_midstream_deaths_total").await, 1.0);
    assert_eq!(proxy.metric("headworks_proxy_requests_total{outcome=\"failed\"}").await, 1.0);
}

#[tokio::test]
async fn a_document_that_breaks_off_cannot_be_taken_for_whole() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, frames) = tokio::join!(proxy.chat(), async {
        let frames = replica.asked().await.begin(http::Response::builder().header("content-type", "application/json"));
        frames.send("{\"id\":");
        frames
    });
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await, "{\"id\":");
    frames.break_off();
    assert!(body.frame().await.expect("there is more to say").is_err());
}

const ERROR: &str = "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\"}}\n\n";

#[tokio::test]
async fn a_stream_in_which_the_replica_tells_of_an_error_has_failed() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, ()) = tokio::join!(proxy.post("/v1/chat/completions", STREAM), async {
        let frames = replica.asked().await.stream();
        [HELLO, HELLO, ERROR, DONE].iter().for_each(|event| frames.send(event));
    });
    let all = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(all, [HELLO, HELLO, ERROR, DONE].concat(), "the error is the client's to read");
    proxy.until("decisions", |all| all[0]["outcome"] == "failed").await;
    assert_eq!(proxy.metric("headworks_proxy_requests_total{outcome=\"failed\"}").await, 1.0);
    assert_eq!(proxy.metric("headworks_proxy_ttft_seconds_count").await, 0.0);
    assert_eq!(proxy.metric("headworks_proxy_e2e_seconds_count").await, 0.0);
    assert_eq!(proxy.metric("headworks_proxy_midstream_deaths_total").await, 0.0);
}

#[tokio::test]
async fn a_replica_that_closes_after_done_without_the_last_chunk_has_finished() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, frames) = tokio::join!(proxy.post("/v1/chat/completions", STREAM), async {
        let frames = replica.asked().await.stream();
        frames.send(HELLO);
        frames
    });
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await, HELLO);
    frames.send(DONE);
    assert_eq!(next(&mut body).await, DONE);
    frames.break_off();
    assert!(body.frame().await.is_none(), "nothing follows [DONE]");
    proxy.until("decisions", |all| all[0]["outcome"] == "finished").await;
    assert_eq!(proxy.metric("headworks_proxy_midstream_deaths_total").await, 0.0);
}

/// What becomes of a stream whose end only the connection's end tells, and what the client reads of it.
async fn closed_after(events: &[&str]) -> (String, serde_json::Value) {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, ()) = tokio::join!(proxy.post("/v1/chat/completions", STREAM), async {
        let head = http::Response::builder().version(http::Version::HTTP_10);
        let frames = replica.asked().await.begin(head.header("content-type", "text/event-stream"));
        events.iter().for_each(|event| frames.send(event));
    });
    let text = crate::fixture::text(answer).await;
    let decisions = proxy.until("decisions", |all| all[0]["outcome"] != "running").await;
    (text, decisions[0]["outcome"].clone())
}

#[tokio::test]
async fn a_connection_that_ends_before_done_is_a_death() {
    let (text, outcome) = closed_after(&[ROLE, HELLO]).await;
    assert_eq!(outcome, "failed");
    assert!(text.starts_with(&[ROLE, HELLO].concat()) && text.contains("replica_failed"), "{text}");
}

#[tokio::test]
async fn a_connection_that_ends_after_done_ends_a_finished_stream() {
    let (text, outcome) = closed_after(&[ROLE, HELLO, DONE]).await;
    assert_eq!((text, outcome), ([ROLE, HELLO, DONE].concat(), json!("finished")));
}

#[tokio::test]
async fn a_replica_that_falls_silent_in_mid_stream_is_as_one_that_died() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&format!("limits.silence_ms_max = 100\n{}", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    let (answer, frames) = tokio::join!(proxy.post("/v1/chat/completions", STREAM), async {
        let frames = replica.asked().await.stream();
        frames.send(HELLO);
        frames
    });
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await, HELLO);
    assert!(next(&mut body).await.contains("replica_failed"));
    assert!(body.frame().await.is_none(), "the stream ends in order");
    frames.left().await;
    assert_eq!(proxy.metric("headworks_proxy_midstream_deaths_total").await, 1.0);
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_the_replica_no_longer_than_the_bound() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&format!("limits.silence_ms_max = 100\n{}", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    let mut client = TcpStream::connect(proxy.data()).await.unwrap();
    let head = format!("POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", STREAM.len());
    client.write_all([head.as_bytes(), STREAM.as_bytes()].concat().as_slice()).await.unwrap();
    let frames = replica.asked().await.stream();
    // More than all the buffers on the way take.
    let padding = format!(": {}\n", "x".repeat(1 << 20));
    (0..64).for_each(|_| frames.send(&padding));
    frames.left().await;
    proxy.until("decisions", |all| all[0]["outcome"] == "cancelled").await;
}
