//! Streams say what whole answers say, piece by piece, and stop where they are told to.

use http::Method;
use http_body_util::BodyExt;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::harness::{Engine, PATIENCE, chat_text, completion_text, redacted, user};

#[tokio::test]
async fn chat_frames_have_openais_shape() {
    let engine = Engine::start().await;
    let ask = json!({ "messages": user("Hello"), "max_tokens": 2, "temperature": 0, "stream_options": { "include_usage": true } });
    let frames = engine.stream("/v1/chat/completions", ask).await;
    assert!(frames.iter().all(|frame| frame["id"] == frames[0]["id"]));
    let lines = frames.into_iter().map(|frame| redacted(frame).to_string());
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn completion_frames_have_openais_shape() {
    let engine = Engine::start().await;
    let ask =
        json!({ "prompt": "Hello", "max_tokens": 2, "temperature": 0, "stream_options": { "include_usage": true } });
    let frames = engine.stream("/v1/completions", ask).await;
    let lines = frames.into_iter().map(|frame| redacted(frame).to_string());
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn usage_comes_only_when_asked_for() {
    let engine = Engine::start().await;
    let ask = json!({ "messages": user("Hello"), "max_tokens": 3 });
    let frames = engine.stream("/v1/chat/completions", ask).await;
    assert!(frames.iter().all(|frame| frame.get("usage").is_none()));
}

/// High temperatures draw broken characters too: no stream may show what the whole answer does not.
#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let engine = Engine::start().await;
    for seed in 0..24 {
        let ask = json!({ "prompt": "Grüße 👋", "max_tokens": 60, "temperature": 2, "seed": seed, "logprobs": 1 });
        let whole = &engine.complete(ask.clone()).await["choices"][0];
        let frames = engine.stream("/v1/completions", ask).await;
        assert_eq!(completion_text(&frames), whole["text"].as_str().unwrap(), "seed {seed}");
        let column = |name: &str| -> Vec<Value> {
            let pieces = frames.iter().filter_map(|frame| frame["choices"][0]["logprobs"][name].as_array());
            pieces.flatten().cloned().collect()
        };
        for name in ["tokens", "token_logprobs", "text_offset"] {
            assert_eq!(Value::from(column(name)), whole["logprobs"][name], "seed {seed}, {name}");
        }
    }
}

/// The first frame must come long before the last token: nothing on the way may wait for the whole.
#[tokio::test]
async fn frames_come_as_tokens_do() {
    let engine = Engine::start().await;
    let ask = json!({ "model": "tiny", "prompt": "Hello", "max_tokens": 1500, "stream": true, "temperature": 0 });
    let mut body = engine.send(engine.request(Method::POST, "/v1/completions", ask.to_string())).await.into_body();
    let first = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
    assert!(first.data_ref().unwrap().starts_with(b"data: "));
    assert!(engine.state().await.running == 1, "it still runs");
}

async fn check_stop(engine: &Engine, stop: &[&str], wanted: &str) {
    let ask = json!({ "messages": user("Hello"), "max_tokens": 40, "temperature": 0, "stop": stop });
    let whole = engine.chat(ask.clone()).await;
    assert_eq!(whole["choices"][0]["message"]["content"], wanted, "stop {stop:?}");
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    let frames = engine.stream("/v1/chat/completions", ask).await;
    assert_eq!(chat_text(&frames), wanted, "stop {stop:?}, streamed");
    assert_eq!(frames.last().unwrap()["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn stop_strings_end_the_text_wherever_tokens_end() {
    let engine = Engine::start().await;
    let ask = json!({ "messages": user("Hello"), "max_tokens": 40, "temperature": 0 });
    let whole = engine.chat(ask).await;
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).filter(|at| *at > 0).collect();
    let mut tried = 0;
    for pair in starts.windows(8).step_by(5) {
        // Seven characters hardly ever are one token: the stop string crosses borders.
        let stop = &text[pair[0]..pair[7]];
        let first = text.find(stop).unwrap();
        check_stop(&engine, &[stop, "never said"], &text[..first]).await;
        tried += 1;
    }
    assert!(tried > 3, "the text is too short to try: {text:?}");
    engine.state_until(|state| state.kv_blocks_used == 0 && state.running == 0).await;
}
