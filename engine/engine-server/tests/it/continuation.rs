//! A stream that is cut anywhere goes on at another engine as if nothing had happened.

use http::Method;
use http_body_util::BodyExt;
use openai_api::{CONTINUATION_FIELD, Continuation, PRODUCED_HEADER, Produced};
use serde_json::{Value, json};

use crate::harness::{Engine, PATIENCE, user};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

/// The events of a stream, each with its comments.
async fn events(engine: &Engine, path: &str, ask: &Value) -> Vec<String> {
    let mut request = engine.request(Method::POST, path, ask.to_string());
    request.headers_mut().insert(PRODUCED_HEADER, "1".parse().unwrap());
    let body = engine.send(request).await.into_body();
    let body = tokio::time::timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    text.split_inclusive("\n\n").map(str::to_owned).collect()
}

fn without_comments(events: &[String]) -> String {
    events.iter().map(|event| &event[event.find("data:").unwrap()..]).collect()
}

/// What a client that got these events has.
fn begun(events: &[String]) -> Continuation {
    let mut begun = Continuation { opened: !events.is_empty(), ..Continuation::default() };
    for event in events {
        let data = &event[event.find("data: ").unwrap() + 6..];
        let data: Value = serde_json::from_str(data.trim()).unwrap();
        begun.id = data["id"].as_str().unwrap().to_owned();
        begun.created = data["created"].as_u64().unwrap();
        let Some(Produced { tokens, seed, cached_tokens, .. }) =
            event.lines().find_map(|line| Produced::from_line(line.as_bytes()))
        else {
            continue;
        };
        begun.tokens.extend(tokens);
        begun.seed = begun.seed.or(seed);
        begun.cached_tokens = cached_tokens.unwrap_or(begun.cached_tokens);
    }
    begun
}

/// Cuts the stream before each event up to the last of its output, and goes on at another engine.
async fn check(path: &str, mut ask: Value) {
    let (one, other) = (Engine::start().await, Engine::start().await);
    ask["model"] = json!("tiny");
    ask["stream"] = json!(true);
    ask["stream_options"] = json!({ "include_usage": true });
    let whole = events(&one, path, &ask).await;
    let last = whole.iter().position(|event| event.contains("\"last\":true")).expect("the last event is told");
    assert!(last > 8, "too short to cut: {whole:?}");
    for cut in 1..=last {
        let mut rest = ask.clone();
        rest[CONTINUATION_FIELD] = serde_json::to_value(begun(&whole[..cut])).unwrap();
        let rest = events(&other, path, &rest).await;
        let joined = without_comments(&[&whole[..cut], &rest].concat());
        assert_eq!(joined, without_comments(&whole), "cut before event {cut}");
    }
}

#[tokio::test]
async fn a_greedy_chat() {
    check(CHAT, json!({ "messages": user("Grüße 👋"), "max_tokens": 40, "temperature": 0 })).await;
}

#[tokio::test]
async fn a_greedy_completion() {
    check(COMPLETIONS, json!({ "prompt": "Hello", "max_tokens": 40, "temperature": 0 })).await;
}

/// High temperatures draw broken characters too, which the detokenizer holds.
#[tokio::test]
async fn a_sampled_completion_with_and_without_a_seed() {
    check(COMPLETIONS, json!({ "prompt": "Hello", "max_tokens": 60, "temperature": 2, "seed": 5 })).await;
    check(COMPLETIONS, json!({ "prompt": "Hello", "max_tokens": 60, "temperature": 1.5, "top_p": 0.95 })).await;
}

#[tokio::test]
async fn a_stop_string_that_lies_across_the_cut() {
    let engine = Engine::start().await;
    let ask = json!({ "prompt": "Hello", "max_tokens": 60, "temperature": 0 });
    let text = engine.complete(ask.clone()).await["choices"][0]["text"].as_str().unwrap().to_owned();
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let (from, to) = (starts[starts.len() / 2], starts[starts.len() / 2 + 7]);
    let mut ask = ask;
    ask["stop"] = json!([&text[from..to]]);
    check(COMPLETIONS, ask).await;
}

#[tokio::test]
async fn what_cannot_go_on_is_refused() {
    let engine = Engine::start().await;
    let refused = async |more: Value, tokens: Vec<u32>| {
        let mut ask = json!({ "model": "tiny", "prompt": "Hello", "max_tokens": 4, "stream": true });
        ask[CONTINUATION_FIELD] = json!({ "id": "x", "created": 1, "tokens": tokens });
        ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = engine.post(COMPLETIONS, &ask).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        answer.json()["error"]["message"].as_str().unwrap().to_owned()
    };
    let said = [
        refused(json!({ "stream": false }), vec![1]).await,
        refused(json!({ "logprobs": 1 }), vec![1]).await,
        refused(json!({}), vec![1; 4]).await,
        refused(json!({}), vec![u32::MAX]).await,
        refused(json!({ (CONTINUATION_FIELD): 7 }), vec![]).await,
    ];
    insta::assert_snapshot!(said.join("\n"));
}
