//! GGUF files written by the `gguf` package: they say what transformers says of the same numbers, and are refused when
//! they are broken.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod recorded;

use std::path::{Path, PathBuf};

use engine_backend::{ForwardBatch, LogitsWanted};
use engine_cpu::CpuBackend;
use engine_model::{Gguf, LoadOptions, Model};
use proptest::prelude::*;

use recorded::{Golden, RecordedLogits};

const FILES: [&str; 9] = [
    "llama-q8_0",
    "llama-spm-q4_0",
    "qwen2-q5_0",
    "llama-tied-q4_1",
    "qwen3-q4_0",
    "qwen3moe-q4_0",
    "gemma2-q4_0",
    "gemma3-q4_0",
    "phi3-q4_0",
];
const LOGIT_ERROR_MAX: f32 = 1e-3;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/gguf").join(name)
}

fn golden(name: &str) -> Golden {
    Golden::read(&path(&format!("{name}.json")))
}

fn model(name: &str) -> Model<CpuBackend> {
    let options = LoadOptions { kv_blocks: 32, ..LoadOptions::default() };
    Model::load(CpuBackend::new(), &path(&format!("{name}.gguf")), &options).unwrap()
}

/// The logits after each of these tokens, which begin at a position.
fn logits(model: &mut Model<CpuBackend>, tokens: &[u32]) -> Vec<Vec<f32>> {
    let run = |(at, token): (usize, &u32)| {
        let mut batch = ForwardBatch::default();
        batch.push(&[*token], at as u32, 0..32, LogitsWanted::Yes);
        model.forward(&batch).unwrap().row(0).to_vec()
    };
    tokens.iter().enumerate().map(run).collect()
}

fn greatest(logits: &[f32]) -> u32 {
    let greatest = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    greatest.0 as u32
}

#[test]
fn models_say_what_transformers_says_of_the_same_file() {
    for name in FILES {
        let mut model = model(name);
        for recorded in golden(name).prompts {
            let sequence = [recorded.prompt.as_slice(), &recorded.greedy].concat();
            let found = logits(&mut model, &sequence);
            let first = recorded.prompt.len() - 1;
            let greedy: Vec<u32> = found[first..sequence.len() - 1].iter().map(|row| greatest(row)).collect();
            assert_eq!(greedy, recorded.greedy, "{name}, {:?}", recorded.text);
            for RecordedLogits { position, values } in &recorded.logits {
                for (entry, expected) in recorded.entries.iter().zip(values) {
                    let error = (found[*position][*entry] - expected).abs();
                    assert!(error <= LOGIT_ERROR_MAX, "{name} at {position}: off by {error}");
                }
            }
        }
    }
}

#[test]
fn tokenizers_cut_text_as_transformers_does_with_the_same_file() {
    for name in FILES {
        let text = Gguf::open(&path(&format!("{name}.gguf"))).unwrap().text().unwrap();
        for recorded in golden(name).prompts {
            let found = text.tokenizer.encode(recorded.text.as_str(), false).unwrap();
            assert_eq!(found.get_ids(), recorded.prompt, "{name}, {:?}", recorded.text);
            assert_eq!(text.tokenizer.decode(found.get_ids(), true).unwrap(), recorded.text, "{name}");
        }
        assert!(text.chat_template.unwrap().contains("<|im_start|>"));
        assert!(!text.end_tokens.is_empty(), "{name}");
    }
}

#[test]
fn a_text_begins_with_what_the_file_says() {
    let ids = |name: &str| {
        let text = Gguf::open(&path(name)).unwrap().text().unwrap();
        text.tokenizer.encode("The canal", true).unwrap().get_ids().to_vec()
    };
    assert_eq!(ids("llama-spm-q4_0.gguf")[0], 1);
    assert_ne!(ids("llama-q8_0.gguf")[0], 1);
}

/// Everything that reads a file, on bytes.
fn read(bytes: Vec<u8>) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.gguf");
    let file = Gguf::of_bytes(&path, bytes.clone()).map_err(|error| error.to_string())?;
    file.text().map_err(|error| error.to_string())?;
    std::fs::write(&path, bytes).unwrap();
    let options = LoadOptions { kv_blocks: 4, step_tokens_max: 8, step_logits_max: 1, ..LoadOptions::default() };
    Model::load(CpuBackend::new(), &path, &options).map_err(|error| error.to_string())?;
    Ok(())
}

fn whole() -> Vec<u8> {
    std::fs::read(path("llama-spm-q4_0.gguf")).unwrap()
}

#[track_caller]
fn check(bytes: Vec<u8>, words: &[&str]) {
    let message = read(bytes).unwrap_err();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

/// Where these bytes first are.
fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}

/// The file with the bytes after a key or a name overwritten.
fn changed(after: &str, skip: usize, to: &[u8]) -> Vec<u8> {
    let mut bytes = whole();
    let at = find(&bytes, after.as_bytes()) + after.len() + skip;
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let bytes = whole();
    let last = bytes.len() - 1;
    for length in (0..64).chain((64..last).step_by(997)).chain([last]) {
        let message = read(bytes[..length].to_vec()).unwrap_err();
        assert!(message.contains("broken.gguf is not a GGUF file we can read"), "{length}: {message}");
    }
}

#[test]
fn a_file_that_is_something_else_is_refused() {
    check(b"PK\x03\x04 and so on, long enough".to_vec(), &["does not begin with \"GGUF\""]);
    check(changed("GGUF", 0, &9u32.to_le_bytes()), &["version is 9"]);
    check(changed("GGUF", 4, &u64::MAX.to_le_bytes()), &["the count 18446744073709551615 at byte 8"]);
}

#[test]
fn what_is_wrong_in_the_metadata_is_named() {
    let text = |text: &str| [&8u32.to_le_bytes()[..], &(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    check(changed("general.architecture", 0, &text("mamba")), &["mamba is not supported", "llama", "qwen3moe", "phi3"]);
    check(changed("llama.block_count", 0, &99u32.to_le_bytes()), &["llama.block_count", "no value type 99"]);
    check(changed("llama.block_count", 4, &0u32.to_le_bytes()), &["\"llama.block_count\" must be a positive integer"]);
    check(changed("llama.block_coun", 0, b"X"), &["\"llama.block_count\" is missing"]);
    check(changed("tokenizer.ggml.model", 0, &text("llamo")), &["tokenizer.ggml.model is \"llamo\""]);
}

#[test]
fn what_is_wrong_with_a_tensor_is_named() {
    let name = "blk.1.attn_k.weight";
    // After the name: the number of dimensions, two dimensions, the type, the offset.
    check(changed(name, 0, &9u32.to_le_bytes()), &[name, "9 dimensions"]);
    check(changed(name, 4, &33u64.to_le_bytes()), &[name, "shape [33, 32]"]);
    check(changed(name, 12, &64u64.to_le_bytes()), &[name, "shape [64, 64]", "[32, 64]"]);
    check(changed(name, 20, &11u32.to_le_bytes()), &[name, "Q3_K", "Q8_0"]);
    check(changed(name, 24, &1u64.to_le_bytes()), &[name, "off its alignment"]);
    check(changed(name, 24, &(1u64 << 60).to_le_bytes()), &[name, "before the end"]);
    check(changed("blk.1.attn_", 0, b"z"), &["blk.1.attn_norm.weight is missing", "[64]"]);
}

#[test]
fn a_scale_that_is_no_number_is_named_with_its_tensor() {
    let bytes = whole();
    // The file ends with the last norm, in f32.
    let mut broken = bytes.clone();
    broken[bytes.len() - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    check(broken, &["model.norm.weight holds a NaN"]);
    // One in eighteen bytes of a Q4_0 tensor begins a scale.
    let messages = (0..18).filter_map(|offset| {
        let mut broken = bytes.clone();
        let at = bytes.len() / 2 + offset;
        broken[at..at + 2].copy_from_slice(&0x7e00u16.to_le_bytes());
        read(broken).err()
    });
    let messages: Vec<String> = messages.collect();
    assert!(matches!(&messages[..], [message] if message.contains("holds a NaN or an infinity")), "{messages:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_a_few_bytes_makes_it_panic(
        changes in prop::collection::vec((0usize..40_000, any::<u8>()), 1..4),
        random in any::<bool>(),
    ) {
        let mut bytes = whole();
        for (at, to) in changes {
            // The head is where lengths and types are.
            let at = if random { at % bytes.len() } else { at % 4096 };
            bytes[at] = to;
        }
        // Whether it still reads does not matter, only that we come back.
        _ = read(bytes);
    }
}
