//! Requests that cannot be served: each gets a status, and an error that says what to change.

use http::{Method, StatusCode};
use insta::assert_snapshot;
use serde_json::json;

use crate::harness::{Engine, config, config_of, edit, fresh_checkpoint, user};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

async fn told(engine: &Engine, method: Method, path: &str, body: impl Into<bytes::Bytes>) -> String {
    let answer = engine.ask(method, path, body).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    format!("{} {}\n", answer.status.as_u16(), answer.text())
}

#[tokio::test]
async fn every_bad_request_is_told_what_to_change() {
    let engine = Engine::start().await;
    let long = "word ".repeat(3000);
    let posts = [
        (CHAT, r#"{"model":"tiny","messages":["#.to_owned()),
        (CHAT, json!({ "model": "gpt-5", "messages": user("hi") }).to_string()),
        (CHAT, json!({ "model": "tiny" }).to_string()),
        (CHAT, json!({ "model": "tiny", "messages": [] }).to_string()),
        (CHAT, json!({ "model": "tiny", "messages": user("hi"), "max_tokens": -5 }).to_string()),
        (CHAT, json!({ "model": "tiny", "messages": user("hi"), "n": 3 }).to_string()),
        (CHAT, json!({ "model": "tiny", "messages": user(&long) }).to_string()),
        (CHAT, json!({ "model": "tiny", "messages": user("hi"), "max_tokens": 2048 }).to_string()),
        (COMPLETIONS, json!({ "model": "tiny", "prompt": "hi", "max_tokens": -5 }).to_string()),
        (COMPLETIONS, json!({ "model": "tiny", "prompt": "hi", "echo": true }).to_string()),
        (COMPLETIONS, json!({ "model": "tiny", "prompt": "" }).to_string()),
        (COMPLETIONS, json!({ "model": "tiny", "prompt": [1, 1_000_000] }).to_string()),
        (COMPLETIONS, json!({ "model": "tiny", "prompt": long }).to_string()),
    ];
    let mut seen = String::new();
    for (path, body) in posts {
        let shown: String = body.chars().take(90).collect();
        seen += &format!("POST {path} {shown}\n    {}", told(&engine, Method::POST, path, body).await);
    }
    seen +=
        &format!("invalid UTF-8\n    {}", told(&engine, Method::POST, CHAT, &b"{\"model\":\"\xff\xfe\"}"[..]).await);
    seen += &format!("GET /v1/nothing\n    {}", told(&engine, Method::GET, "/v1/nothing", "").await);
    seen += &format!("GET {CHAT}\n    {}", told(&engine, Method::GET, CHAT, "").await);
    for path in ["/v1/models/gpt-5", "/v1/models/a/b", "/v1/models/%FF", "/v1/models/"] {
        seen += &format!("GET {path}\n    {}", told(&engine, Method::GET, path, "").await);
    }
    assert_snapshot!(seen);

    assert_eq!(engine.metric("headworks_engine_requests_total{endpoint=\"chat\",outcome=\"refused\"}").await, 9.0);
    assert_eq!(engine.state().await.kv_blocks_used, 0);
    engine.chat(json!({ "messages": user("hi"), "max_tokens": 1 })).await;
}

#[tokio::test]
async fn an_answer_does_not_grow_with_what_it_repeats() {
    let engine = Engine::start().await;
    let long = "m".repeat(30_000);
    let body = json!({ "model": long, "messages": user("hi") }).to_string();
    let answer = engine.ask(Method::POST, CHAT, body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["error"]["param"], "model");
    assert!(answer.body.len() < 512, "{}", answer.text());
    for (method, path) in [(Method::GET, format!("/v1/models/{long}")), (Method::PUT, format!("/{long}"))] {
        let answer = engine.ask(method, &path, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(answer.body.len() < 600, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let engine = Engine::start().await;
    let answer = engine.get(CHAT).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers["allow"], "POST");
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_and_the_engine_goes_on() {
    let engine = Engine::start().await;
    let body = vec![b' '; 10 << 20];
    let answer = engine.ask(Method::POST, CHAT, body).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_snapshot!(answer.text());
    let mut announced = engine.request(Method::POST, CHAT, vec![b' '; 10 << 20]);
    announced.headers_mut().insert("expect", "100-continue".parse().unwrap());
    assert_eq!(engine.send(announced).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    engine.chat(json!({ "messages": user("hi"), "max_tokens": 1 })).await;
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_again() {
    let engine = Engine::start_with(engine_server::Config { running_max: 1, waiting_max: 1, ..config() }).await;
    let long = json!({ "model": "tiny", "prompt": "hi", "max_tokens": 2000, "stream": true }).to_string();
    // Each answers its head once it is queued: the first runs, the second waits.
    let first = engine.send(engine.request(Method::POST, COMPLETIONS, long.clone())).await;
    engine.state_until(|state| state.running == 1).await;
    let second = engine.send(engine.request(Method::POST, COMPLETIONS, long.clone())).await;
    let third = engine.ask(Method::POST, COMPLETIONS, long).await;
    assert_eq!(third.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(third.headers["retry-after"], "1");
    assert_snapshot!(third.text());
    drop((first, second));
    engine.state_until(|state| state.running + state.waiting == 0 && state.kv_blocks_used == 0).await;
}

#[tokio::test]
async fn a_prompt_that_cannot_fit_is_refused_by_its_bytes() {
    let engine = Engine::start().await;
    let text = "word ".repeat(800_000);
    let asked = [
        (CHAT, "messages", json!({ "model": "tiny", "messages": user(&text) })),
        (COMPLETIONS, "prompt", json!({ "model": "tiny", "prompt": text })),
    ];
    for (path, param, body) in asked {
        let error = engine.post(path, &body).await.json()["error"].clone();
        assert_eq!((&error["code"], &error["param"]), (&json!("context_length_exceeded"), &json!(param)));
        assert!(error["message"].as_str().unwrap().contains("at least"), "{error}");
    }
}

#[tokio::test]
async fn a_message_cannot_end_its_turn() {
    let engine = Engine::start().await;
    let prompt_tokens = async |text: &str| {
        let answer = engine.chat(json!({ "messages": user(text), "max_tokens": 1 })).await;
        answer["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    // As the one special token it would be one more.
    assert!(prompt_tokens("hi<|im_end|>").await > prompt_tokens("hi").await + 3);
}

#[tokio::test]
async fn prompts_take_turns_at_the_tokenizer() {
    let engine = Engine::start_with(engine_server::Config { tokenize_max: 1, ..config() }).await;
    let body = json!({ "model": "tiny", "prompt": "word ".repeat(300), "max_tokens": 1 });
    for answer in futures_util::future::join_all((0..8).map(|_| engine.post(COMPLETIONS, &body))).await {
        answer.ok();
    }
    assert_eq!(engine.metric("headworks_engine_tokenizing").await, 0.0);
    assert_eq!(engine.metric("headworks_engine_tokenizing_max").await, 1.0);
}

#[tokio::test]
async fn requests_in_flight_are_bounded() {
    let engine = Engine::start_with(engine_server::Config { requests_max: 1, ..config() }).await;
    let long = json!({ "model": "tiny", "prompt": "hi", "max_tokens": 2000, "stream": true }).to_string();
    let first = engine.send(engine.request(Method::POST, COMPLETIONS, long.clone())).await;
    let second = engine.ask(Method::POST, COMPLETIONS, long).await;
    assert_eq!(second.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(second.headers.contains_key("retry-after"));
    drop(first);
}

#[tokio::test]
async fn a_checkpoint_without_a_template_completes_but_does_not_chat() {
    let dir = fresh_checkpoint();
    edit(dir.path(), "tokenizer_config.json", |config| {
        config.as_object_mut().unwrap().remove("chat_template").expect("it had one");
    });
    let engine = Engine::start_with(config_of(dir.path())).await;
    let body = json!({ "model": "tiny", "messages": user("hi") }).to_string();
    assert_snapshot!(told(&engine, Method::POST, CHAT, body).await);
    engine.complete(json!({ "prompt": "hi" })).await;
}

#[tokio::test]
async fn what_a_template_refuses_is_the_clients_fault() {
    let dir = fresh_checkpoint();
    std::fs::write(dir.path().join("chat_template.jinja"), "{{ raise_exception('say please') }}").unwrap();
    let engine = Engine::start_with(config_of(dir.path())).await;
    let body = json!({ "model": "tiny", "messages": user("hi") }).to_string();
    assert_snapshot!(told(&engine, Method::POST, CHAT, body).await);
}
