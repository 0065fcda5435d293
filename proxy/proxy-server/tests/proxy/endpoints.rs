//! Endpoints beside OpenAI's chat: each is read for what the proxy needs, counted, and refused in its clients' words.

use http::{Method, StatusCode};
use http_body_util::BodyExt;

use crate::fixture::{Proxy, Replica, replicas, shown, text};

/// As Anthropic's API streams them.
const MESSAGES: [&str; 7] = [
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"model\":\"tiny\",\"content\":[],\"usage\":{\"input_tokens\":20,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
];

const RESPONSES: [&str; 3] = [
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"tiny\",\"usage\":null}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"usage\":{\"input_tokens\":25,\"input_tokens_details\":{\"cached_tokens\":5},\"output_tokens\":15}}}\n\n",
];

async fn check_stream(path: &str, events: &[&str]) {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let body = r#"{"model":"tiny","stream":true,"messages":[],"input":"hi"}"#;
    let (answer, ()) = tokio::join!(proxy.post(path, body), async {
        let frames = replica.asked().await.stream();
        events.iter().for_each(|event| frames.send(event));
    });
    let passed = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(passed, events.concat());
    let decision = proxy.until("decisions", |all| all[0]["outcome"] == "finished").await[0].clone();
    assert_eq!((decision["prompt_tokens"].as_u64(), decision["output_tokens"].as_u64()), (Some(25), Some(15)));
    assert!(decision["ttft_ms"].is_f64(), "{decision}");
    assert_eq!(proxy.metric("headworks_proxy_tokens_total{kind=\"cached\"}").await, 5.0);
}

#[tokio::test]
async fn streams_of_other_shapes_are_counted_too() {
    check_stream("/v1/messages", &MESSAGES).await;
    check_stream("/v1/responses", &RESPONSES).await;
}

async fn check_whole(path: &str, answer: &str, prompt_tokens: u64, output_tokens: u64) {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let body = r#"{"model":"tiny","input":"hi","query":"a","documents":["b"]}"#;
    let (passed, ()) = tokio::join!(proxy.post(path, body), async { replica.asked().await.answer(200, answer) });
    assert_eq!(text(passed).await, answer);
    let decision = proxy.until("decisions", |all| all[0]["outcome"] == "finished").await[0].clone();
    assert_eq!(decision["prompt_tokens"], prompt_tokens, "{path}");
    assert_eq!(decision["output_tokens"].as_u64().unwrap_or(0), output_tokens, "{path}");
}

#[tokio::test]
async fn whole_answers_of_other_shapes_are_counted_too() {
    check_whole(
        "/v1/messages",
        r#"{"id":"m","type":"message","content":[],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":4}}"#,
        3,
        4,
    )
    .await;
    check_whole("/v1/responses", r#"{"id":"r","usage":{"input_tokens":3,"output_tokens":4}}"#, 3, 4).await;
    check_whole("/v1/embeddings", r#"{"data":[],"usage":{"prompt_tokens":3,"total_tokens":3}}"#, 3, 0).await;
    check_whole("/v1/rerank", r#"{"results":[],"usage":{"total_tokens":3}}"#, 3, 0).await;
    check_whole("/rerank", r#"{"results":[],"usage":{"total_tokens":3}}"#, 3, 0).await;
}

#[tokio::test]
async fn anthropics_clients_are_told_in_their_words() {
    let mut replica = Replica::start().await;
    let lines = "[[tenant]]\nname = \"acme\"\n\
                 key_sha256 = [\"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"]\n";
    let proxy = Proxy::start(&format!("{lines}{}", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    let mut all = String::new();
    for (name, key, body) in [
        ("no key", None, r#"{"model":"tiny","messages":[]}"#),
        ("no such model", Some("secret"), r#"{"model":"other","messages":[]}"#),
        ("no JSON", Some("secret"), "{"),
    ] {
        let mut request = proxy.request(Method::POST, "/v1/messages", body);
        if let Some(key) = key {
            request.headers_mut().insert("x-api-key", key.parse().unwrap());
        }
        all += &format!("# {name}\n{}\n", shown(proxy.send(request).await).await);
    }
    let mut request = proxy.request(Method::POST, "/v1/messages", r#"{"model":"tiny","messages":[],"stream":true}"#);
    request.headers_mut().insert("x-api-key", "secret".parse().unwrap());
    let (answer, frames) = tokio::join!(proxy.send(request), async {
        let asked = replica.asked().await;
        assert_eq!(asked.header("x-api-key"), None, "the key stays here");
        let frames = asked.stream();
        frames.send(MESSAGES[0]);
        frames
    });
    assert_eq!(answer.status(), StatusCode::OK);
    frames.break_off();
    all += &format!("# a replica that dies\n{}", text(answer).await.replace(MESSAGES[0], ""));
    insta::assert_snapshot!(all);
}
