//! Chance belongs to a request: its seed decides, its batch mates do not.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::Engine;

fn ask(seed: u64) -> serde_json::Value {
    json!({ "prompt": "Once upon a time", "max_tokens": 32, "temperature": 1.2, "top_p": 0.95, "top_k": 200, "seed": seed })
}

async fn text(engine: &Engine, ask: serde_json::Value) -> String {
    engine.complete(ask).await["choices"][0]["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_same_seed_says_the_same_whatever_the_batch_mates() {
    let engine = Engine::start().await;
    let mut alone = Vec::new();
    for seed in 0..8 {
        alone.push(text(&engine, ask(seed)).await);
    }
    assert_eq!(alone.iter().collect::<HashSet<_>>().len(), 8, "seeds differ: {alone:?}");
    let together = join_all((0..8).map(|seed| text(&engine, ask(seed)))).await;
    assert_eq!(alone, together);
}

#[tokio::test]
async fn without_a_seed_no_two_answers_are_the_same() {
    let engine = Engine::start().await;
    let mut unseeded = ask(0);
    unseeded.as_object_mut().unwrap().remove("seed");
    assert_ne!(text(&engine, unseeded.clone()).await, text(&engine, unseeded).await);
}

#[tokio::test]
async fn one_candidate_is_no_chance() {
    let engine = Engine::start().await;
    let greedy = text(&engine, json!({ "prompt": "Once", "temperature": 0 })).await;
    for narrowed in [json!({ "top_k": 1 }), json!({ "top_p": 0 })] {
        let mut ask = json!({ "prompt": "Once", "temperature": 1.5 });
        ask.as_object_mut().unwrap().extend(narrowed.as_object().unwrap().clone());
        assert_eq!(text(&engine, ask).await, greedy, "{narrowed}");
    }
}

/// Many requests at once through a small cache: they are preempted, and nobody's answer changes.
#[tokio::test]
async fn preemption_changes_nothing() {
    let roomy = Engine::start().await;
    let narrow = Engine::start_with(engine_server::Config { kv_blocks: 12, ..crate::harness::config() }).await;
    let asks: Vec<_> = (0..6)
        .map(|n| json!({ "prompt": format!("Story number {n}:"), "max_tokens": 100, "temperature": 0 }))
        .collect();
    let wanted = join_all(asks.iter().map(|ask| text(&roomy, ask.clone()))).await;
    let squeezed = join_all(asks.iter().map(|ask| text(&narrow, ask.clone()))).await;
    assert_eq!(wanted, squeezed);
    assert!(narrow.metric("headworks_engine_preemptions_total").await > 0.0);
    assert_eq!(narrow.state().await.kv_blocks_used, 0);
}
