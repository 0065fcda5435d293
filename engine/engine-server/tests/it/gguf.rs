//! An engine over one GGUF file: what it says is what transformers recorded of the same file.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Engine, config_of, edit, fresh_checkpoint, user};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine-model/golden/gguf").join(name)
}

#[tokio::test]
async fn a_gguf_file_is_served_with_its_own_tokenizer() {
    let recorded: Value = serde_json::from_slice(&std::fs::read(file("llama-q8_0.json")).unwrap()).unwrap();
    let text = engine_model::Gguf::open(&file("llama-q8_0.gguf")).unwrap().text().unwrap();
    let engine = Engine::start_with(config_of(file("llama-q8_0.gguf"))).await;
    for recorded in recorded["prompts"].as_array().unwrap() {
        let greedy: Vec<u32> = serde_json::from_value(recorded["greedy"].clone()).unwrap();
        // The engine may round what the reference does not; the first choices are clear all the same.
        let first = &greedy[..4];
        assert!(first.iter().all(|token| !text.end_tokens.contains(token)));
        let ask = json!({ "prompt": recorded["text"], "max_tokens": first.len(), "temperature": 0 });
        let answer = engine.complete(ask).await;
        assert_eq!(answer["choices"][0]["text"], text.tokenizer.decode(first, true).unwrap(), "{answer}");
        assert_eq!(answer["usage"]["prompt_tokens"], recorded["prompt"].as_array().unwrap().len());
    }
}

#[tokio::test]
async fn a_gguf_file_chats_by_its_own_template() {
    let engine = Engine::start_with(config_of(file("llama-spm-q4_0.gguf"))).await;
    let answer =
        engine.chat(json!({ "messages": user("Why is the sky blue?"), "max_tokens": 4, "temperature": 0 })).await;
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 20, "{answer}");
}

#[test]
fn a_file_is_served_under_its_name_without_the_ending() {
    let config = engine_server::Config { served_name: None, ..config_of(file("llama-q8_0.gguf")) };
    assert_eq!(config.served_name(), "llama-q8_0");
}

#[tokio::test]
async fn a_tokenizer_of_a_larger_model_is_refused() {
    let dir = fresh_checkpoint();
    edit(dir.path(), "tokenizer.json", |tokenizer| tokenizer["model"]["vocab"]["far beyond"] = json!(5000));
    let served = engine_server::serve(
        config_of(dir.path()),
        std::sync::Arc::new(telemetry::Telemetry::off()),
        |_| panic!("it must not start"),
        std::future::pending(),
    );
    let message = served.await.unwrap_err().to_string();
    assert!(message.contains("the tokenizer has token 5000, the model has embeddings for 1024 tokens"), "{message}");
}
