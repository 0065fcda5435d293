//! What the endpoints answer when all is well.

use http::StatusCode;
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::harness::{Engine, checkpoint, config, config_of, edit, fresh_checkpoint, redacted, user};

#[tokio::test]
async fn a_chat_has_openais_shape() {
    let engine = Engine::start().await;
    let answer = engine.chat(json!({ "messages": user("Hello"), "max_tokens": 8, "temperature": 0 })).await;
    let mut shape = redacted(answer);
    assert!(!shape["choices"][0]["message"]["content"].as_str().unwrap().is_empty());
    shape["choices"][0]["message"]["content"] = json!("[content]");
    assert_json_snapshot!(shape);
}

#[tokio::test]
async fn a_completion_has_openais_shape() {
    let engine = Engine::start().await;
    let mut shape = redacted(engine.complete(json!({ "prompt": "Hello", "temperature": 0 })).await);
    shape["choices"][0]["text"] = json!("[text]");
    assert_json_snapshot!(shape);
}

#[tokio::test]
async fn a_chat_goes_on_to_the_end_of_the_context_unless_bounded() {
    let engine = Engine::start_with(engine_server::Config { kv_blocks: 6, ..config() }).await;
    assert_eq!(engine.state().await.context_tokens_max, 96);
    let ended = engine.chat(json!({ "messages": user("Hello"), "temperature": 0 })).await;
    assert_eq!(ended["choices"][0]["finish_reason"], "length", "{ended}");
    assert_eq!(ended["usage"]["total_tokens"], 96);
}

/// Whichever file names the token, it ends the output, counts, and is not shown.
#[tokio::test]
async fn an_end_token_ends_the_output() {
    let ask = json!({ "prompt": "Hello", "max_tokens": 40, "temperature": 0, "logprobs": 0 });
    let endless = Engine::start().await.complete(ask.clone()).await;
    let tokenizer = tokenizers::Tokenizer::from_file(checkpoint().join("tokenizer.json")).unwrap();
    let text = endless["choices"][0]["text"].as_str().unwrap();
    let spelt: Vec<String> = serde_json::from_value(endless["choices"][0]["logprobs"]["tokens"].clone()).unwrap();
    let (at, end) = (1..spelt.len())
        .filter(|at| !spelt[..*at].contains(&spelt[*at]))
        .find_map(|at| Some((at, tokenizer.token_to_id(&spelt[at].replace(' ', "Ġ"))?)))
        .unwrap();
    for (file, key, value) in [
        ("generation_config.json", "eos_token_id", json!([0, end])),
        ("config.json", "eos_token_id", json!(end)),
        ("tokenizer_config.json", "eos_token", json!({ "content": tokenizer.id_to_token(end).unwrap() })),
    ] {
        let dir = fresh_checkpoint();
        edit(dir.path(), file, |config| config[key] = value);
        let ended = Engine::start_with(config_of(dir.path())).await.complete(ask.clone()).await;
        let choice = &ended["choices"][0];
        assert_eq!(choice["finish_reason"], "stop", "{file}");
        assert_eq!(ended["usage"]["completion_tokens"], at + 1, "{file}");
        assert_eq!(choice["logprobs"]["tokens"].as_array().unwrap().len(), at, "{file}");
        assert!(text.starts_with(choice["text"].as_str().unwrap()), "{file}: {ended}");
    }
}

#[tokio::test]
async fn token_ids_are_a_prompt_like_their_text() {
    let engine = Engine::start().await;
    let tokenizer = tokenizers::Tokenizer::from_file(checkpoint().join("tokenizer.json")).unwrap();
    let prompt = "The river runs past the mill.";
    let ids = tokenizer.encode(prompt, true).unwrap().get_ids().to_vec();
    let of_text = engine.complete(json!({ "prompt": prompt, "temperature": 0 })).await;
    let of_ids = engine.complete(json!({ "prompt": ids, "temperature": 0 })).await;
    assert_eq!(of_text["choices"], of_ids["choices"]);
    assert_eq!(of_ids["usage"]["prompt_tokens"], ids.len());
}

#[tokio::test]
async fn a_cached_prefix_changes_nothing_but_the_work() {
    let engine = Engine::start().await;
    let prompt = "Water finds its way down the hill, over the stones and under the roots. ".repeat(4);
    let ask = json!({ "prompt": prompt, "temperature": 0, "max_tokens": 48 });
    let (first, second) = (engine.complete(ask.clone()).await, engine.complete(ask).await);
    assert_eq!(first["choices"], second["choices"]);
    let cached = |answer: &Value| answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    let prompt_tokens = first["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(cached(&first), 0);
    assert!(cached(&second) > 0 && cached(&second) < prompt_tokens, "{second}");
    assert_eq!(cached(&second) % 16, 0, "whole blocks");
    let state = engine.state().await;
    assert_eq!(state.cached_tokens_total, cached(&second));
    assert!(state.prefix_hit_permille > 300, "{state:?}");
}

#[tokio::test]
async fn chat_logprobs_spell_the_text_and_lead_with_the_chosen() {
    let engine = Engine::start().await;
    let ask =
        json!({ "messages": user("Hello"), "max_tokens": 12, "temperature": 0, "logprobs": true, "top_logprobs": 3 });
    let choice = &engine.chat(ask).await["choices"][0];
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len(), 12);
    let mut bytes = Vec::new();
    for token in tokens {
        let spelt: Vec<u8> = serde_json::from_value(token["bytes"].clone()).unwrap();
        bytes.extend(spelt);
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        assert_eq!((&top[0]["token"], &top[0]["logprob"]), (&token["token"], &token["logprob"]));
        let logprobs: Vec<f64> = top.iter().map(|token| token["logprob"].as_f64().unwrap()).collect();
        assert!(logprobs.is_sorted_by(|a, b| a >= b) && logprobs[0] < 0.0, "{logprobs:?}");
    }
    assert_eq!(String::from_utf8_lossy(&bytes), choice["message"]["content"].as_str().unwrap());
    let none = engine.chat(json!({ "messages": user("Hello"), "max_tokens": 1 })).await;
    assert_eq!(none["choices"][0]["logprobs"], Value::Null);
}

#[tokio::test]
async fn completion_logprobs_are_columns() {
    let engine = Engine::start().await;
    let ask = json!({ "prompt": "Hello", "max_tokens": 12, "temperature": 0, "logprobs": 2 });
    let choice = engine.complete(ask).await["choices"][0].clone();
    let columns = &choice["logprobs"];
    let length = |name: &str| columns[name].as_array().unwrap().len();
    for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(length(name), 12, "{name}");
    }
    let offsets: Vec<u64> = serde_json::from_value(columns["text_offset"].clone()).unwrap();
    assert!(offsets[0] == 0 && offsets.is_sorted());
    for (token, top) in columns["tokens"].as_array().unwrap().iter().zip(columns["top_logprobs"].as_array().unwrap()) {
        assert!(top.get(token.as_str().unwrap()).is_some(), "the chosen token is among the top: {top}");
    }
}

#[tokio::test]
async fn what_is_served_is_listed() {
    let engine = Engine::start().await;
    let mut models = engine.get("/v1/models").await.ok();
    models["data"][0]["created"] = json!("[created]");
    assert_json_snapshot!(models);
    assert_eq!(engine.get("/v1/models/tiny").await.ok()["id"], "tiny");
    assert_eq!(engine.get("/health").await.text(), r#"{"status":"ok"}"#);
    assert_eq!(engine.get("/health").await.status, StatusCode::OK);
}

/// Official clients escape a name's slash; people who type the path do not.
#[tokio::test]
async fn a_name_with_a_slash_is_found_either_way() {
    let served_name = Some("org/näme".to_owned());
    let engine = Engine::start_with(engine_server::Config { served_name, ..config() }).await;
    for path in ["/v1/models/org%2Fn%C3%A4me", "/v1/models/org/n%c3%a4me"] {
        assert_eq!(engine.get(path).await.ok()["id"], "org/näme", "{path}");
    }
    assert_eq!(engine.get("/v1/models/org").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_state_counts_what_happened() {
    let engine = Engine::start().await;
    engine.complete(json!({ "prompt": "Hello", "max_tokens": 5, "temperature": 0 })).await;
    let state = engine.state().await;
    assert!(state.ttft_us > 0 && state.tpot_us > 0, "{state:?}");
    let mut state = serde_json::to_value(state).unwrap();
    for time in ["ttft_us", "tpot_us", "uptime_ms"] {
        state[time] = json!("[time]");
    }
    assert_json_snapshot!(state);
}

#[tokio::test]
async fn metrics_have_these_names() {
    let engine = Engine::start().await;
    engine.complete(json!({ "prompt": "Hello", "max_tokens": 5, "temperature": 0 })).await;
    let text = engine.get("/metrics").await.text();
    let heads: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_snapshot!(heads.join("\n"));
    for (sample, value) in [
        ("headworks_engine_requests_total{endpoint=\"completions\",outcome=\"length\"}", 1.0),
        ("headworks_engine_output_tokens_total", 5.0),
        ("headworks_engine_ttft_seconds_count", 1.0),
        ("headworks_engine_tpot_seconds_count", 1.0),
        ("headworks_engine_e2e_seconds_count", 1.0),
        ("headworks_engine_requests_in_flight", 0.0),
        ("headworks_engine_waiting_max", 256.0),
        ("headworks_engine_spans_dropped_total", 0.0),
    ] {
        assert_eq!(engine.metric(sample).await, value, "{sample}");
    }
    assert!(engine.metric("headworks_engine_connections").await >= 1.0);
}
