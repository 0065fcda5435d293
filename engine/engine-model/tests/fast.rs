//! The fast backend under a whole model: near the exact one, and the same to the last bit in every batch and chunk.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use engine_backend::{ForwardBatch, LogitsWanted};
use engine_cpu::{CpuBackend, CpuOptions, Isa, KvType, Threads};

use engine_model::{LoadOptions, Model, Preset, Synth, synth};

const BLOCK_TOKENS: u32 = 16;
/// How far logits, which are about three large, may be from the exact ones.
const ERROR_MAX: f32 = 0.4;

fn load(dir: &Path, backend: CpuBackend) -> Model<CpuBackend> {
    let options = LoadOptions { kv_blocks: 64, block_tokens: BLOCK_TOKENS, ..LoadOptions::default() };
    Model::load(backend, dir, &options).unwrap()
}

fn prompt() -> Vec<u32> {
    (0..75).map(|at| at * 31 % 400 + 3).collect()
}

/// The logits after a prompt that comes in such chunks, beside another sequence or alone.
fn after(model: &mut Model<CpuBackend>, chunk: usize, mate: Option<usize>) -> Vec<f32> {
    let prompt = prompt();
    let mut logits = Vec::new();
    for start in (0..prompt.len()).step_by(chunk) {
        let mut batch = ForwardBatch::default();
        if let Some(tokens) = mate {
            let other: Vec<u32> = (0..tokens as u32).map(|token| token + 7).collect();
            batch.push(&other, 0, 30..40, LogitsWanted::Yes);
        }
        let end = prompt.len().min(start + chunk);
        batch.push(&prompt[start..end], start as u32, 0..10, LogitsWanted::Yes);
        let rows = model.forward(&batch).unwrap();
        logits = rows.rows().last().unwrap().to_vec();
    }
    logits
}

#[test]
fn logits_are_near_the_exact_ones_and_the_same_in_every_batch_and_chunk() {
    let dir = tempfile::tempdir().unwrap();
    synth(&Synth::new(dir.path().to_owned(), Preset::Tiny)).unwrap();
    let exact = after(&mut load(dir.path(), CpuBackend::new()), 75, None);
    for isa in Isa::available() {
        for kv in [KvType::Bf16, KvType::Int8] {
            let options = CpuOptions { kv, ..CpuOptions::fast(isa) };
            let mut model = load(dir.path(), CpuBackend::with(options, Threads::of_process()).unwrap());
            let whole = after(&mut model, 75, None);
            let error = whole.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error <= ERROR_MAX, "{isa:?}, {kv:?}: off by {error}");
            for (chunk, mate) in [(1, None), (16, None), (7, Some(1)), (33, Some(40)), (75, Some(3))] {
                let found = after(&mut model, chunk, mate);
                assert_eq!(found, whole, "{isa:?}, {kv:?}: chunks of {chunk} beside {mate:?}");
            }
        }
    }
}
