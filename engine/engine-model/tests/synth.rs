//! Made-up checkpoints: the same request gives the same bytes, and nothing of others is overwritten.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs;

use engine_backend::{ForwardBatch, LogitsWanted};
use engine_cpu::CpuBackend;
use engine_model::{LoadOptions, Model, PlainType, Preset, Synth, synth};

/// A directory's files after a synthesis.
fn files(change: impl Fn(&mut Synth)) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let mut wanted = Synth::new(dir.path(), Preset::Tiny);
    change(&mut wanted);
    let written = synth(&wanted).unwrap();
    let files = written
        .files
        .iter()
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()));
    files.collect()
}

#[test]
fn a_seed_gives_the_same_bytes_every_time() {
    let first = files(|_| {});
    assert_eq!(first, files(|_| {}));
    let names: Vec<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    );
}

#[test]
fn another_seed_gives_other_weights_and_nothing_else() {
    let (zero, one) = (files(|_| {}), files(|wanted| wanted.seed = 1));
    for (name, bytes) in &zero {
        assert_eq!(*bytes == one[name], name != "model.safetensors", "{name}");
    }
}

#[test]
fn numbers_do_not_change_from_release_to_release() {
    let files = files(|wanted| wanted.dtype = PlainType::F32);
    let tensors = safetensors::SafeTensors::deserialize(&files["model.safetensors"]).unwrap();
    let norm = tensors.tensor("model.norm.weight").unwrap();
    let first: Vec<f32> =
        norm.data().as_chunks::<4>().0.iter().take(3).map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!(first, NORM_BEGINS);
}

/// Golden files elsewhere depend on these: a change here means recording those again.
const NORM_BEGINS: [f32; 3] = [0.8634942, 0.9054582, 0.7928231];

#[test]
fn weights_are_about_normal() {
    let files = files(|wanted| wanted.dtype = PlainType::F32);
    let tensors = safetensors::SafeTensors::deserialize(&files["model.safetensors"]).unwrap();
    let embedding = tensors.tensor("model.embed_tokens.weight").unwrap();
    let numbers = embedding.data().as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes)));
    let numbers: Vec<f64> = numbers.collect();
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / numbers.len() as f64;
    assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
}

#[test]
fn a_directory_with_other_files_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = Synth::new(dir.path(), Preset::Tiny);
    synth(&wanted).unwrap();
    synth(&wanted).expect("an earlier run's files may be written again");
    fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let refused = synth(&wanted).unwrap_err().to_string();
    assert!(refused.contains("thesis.txt") && refused.contains("empty directory"), "{refused}");
}

#[test]
fn shards_of_another_run_are_not_mixed_with_a_single_file() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = Synth::new(dir.path(), Preset::Tiny);
    synth(&Synth { shard_bytes_max: Some(100_000), ..wanted.clone() }).unwrap();
    assert!(synth(&wanted).unwrap_err().to_string().contains("model-0000"));
}

#[test]
fn the_small_preset_loads_and_speaks() {
    let dir = tempfile::tempdir().unwrap();
    let written = synth(&Synth::new(dir.path(), Preset::Small)).unwrap();
    assert!((10_000_000..30_000_000).contains(&written.parameters), "{}", written.parameters);
    let options = LoadOptions { kv_blocks: 4, ..LoadOptions::default() };
    let mut model = Model::load(CpuBackend::new(), dir.path(), &options).unwrap();
    assert_eq!(model.config().vocab, written.vocab);
    let mut batch = ForwardBatch::default();
    batch.push(&[5, 6, 7], 0, [2], LogitsWanted::Yes);
    let logits = model.forward(&batch).unwrap();
    assert!(logits.row(0).iter().all(|logit| logit.is_finite()));
}

#[test]
fn a_batch_beyond_the_models_room_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    synth(&Synth::new(dir.path(), Preset::Tiny)).unwrap();
    let options = LoadOptions { kv_blocks: 4, block_tokens: 4, step_tokens_max: 8, step_logits_max: 1, round_to: None };
    let mut model = Model::load(CpuBackend::new(), dir.path(), &options).unwrap();
    let mut forward = |sequences: &[(&[u32], u32)]| {
        let mut batch = ForwardBatch::default();
        for (tokens, block) in sequences {
            batch.push(tokens, 0, [*block, 3, 2], LogitsWanted::Yes);
        }
        model.forward(&batch).map(|logits| logits.rows().len()).map_err(|error| error.to_string())
    };
    assert_eq!(forward(&[]), Ok(0));
    assert_eq!(forward(&[(&[1; 8], 0)]), Ok(1));
    assert_eq!(forward(&[(&[1; 9], 0)]), Err("bad batch: 9 tokens, the model has room for 8".to_owned()));
    assert!(forward(&[(&[1], 0), (&[1], 1)]).unwrap_err().contains("2 rows of logits"));
    assert!(forward(&[(&[1024], 0)]).unwrap_err().contains("token 1024 of 1024"));
    assert!(forward(&[(&[1], 9)]).unwrap_err().contains("block 9 of 4"));
}
