//! The whole engine below HTTP against Hugging Face transformers: same tokens, logits within 1e-3.
//!
//! `golden/make.py` recorded what transformers says. Checkpoints are made up here from their seed, not stored.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "golden/cases.rs"]
mod cases;

mod recorded;

use std::path::Path;

use cases::{CASES, Case};
use engine_backend::{ForwardBatch, LogitsWanted};
use engine_cpu::{CpuBackend, Isa};
use engine_kv::{BlockPool, PoolConfig};
use engine_model::{LoadOptions, Model, synth};
use engine_scheduler::{Scheduler, SchedulerConfig, SequenceId, SequenceRequest, StepPlan};
use tempfile::TempDir;
use tokenizers::Tokenizer;

use recorded::{Golden, Recorded, RecordedLogits};

const LOGIT_ERROR_MAX: f32 = 1e-3;
const KV_BLOCKS: u32 = 64;
const BLOCK_TOKENS: u32 = 16;

fn golden(case: &Case) -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{}.json", case.name));
    Golden::read(&path)
}

fn checkpoint(case: &Case) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    synth(&case.synth(dir.path().to_owned())).unwrap();
    dir
}

fn load(dir: &Path, backend: CpuBackend) -> Model<CpuBackend> {
    let options = LoadOptions { kv_blocks: KV_BLOCKS, block_tokens: BLOCK_TOKENS, ..LoadOptions::default() };
    Model::load(backend, dir, &options).unwrap()
}

fn greatest(logits: &[f32]) -> u32 {
    let greatest = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    greatest.0 as u32
}

fn batch_of(plan: &StepPlan) -> ForwardBatch {
    let mut batch = ForwardBatch::default();
    for share in &plan.sequences {
        let wanted = if share.wants_logits { LogitsWanted::Yes } else { LogitsWanted::No };
        let blocks = share.blocks.iter().map(|block| block.index());
        batch.push(&share.tokens, share.position, blocks, wanted);
    }
    batch
}

/// Runs all prompts side by side, greedily, and returns their outputs.
fn generate(model: &mut Model<CpuBackend>, scheduler: &mut Scheduler, golden: &Golden) -> Vec<Vec<u32>> {
    for (id, recorded) in (0..).map(SequenceId).zip(&golden.prompts) {
        let output_tokens_max = recorded.greedy.len() as u32;
        let prompt = recorded.prompt.clone();
        scheduler.enqueue(SequenceRequest { id, prompt, output_tokens_max }).unwrap();
    }
    let mut outputs = vec![Vec::new(); golden.prompts.len()];
    while !scheduler.is_idle() {
        let plan = scheduler.plan();
        let logits = model.forward(&batch_of(&plan)).unwrap();
        let wanting = plan.sequences.iter().filter(|share| share.wants_logits);
        let sampled: Vec<(SequenceId, u32)> =
            wanting.zip(logits.rows()).map(|(share, row)| (share.id, greatest(row))).collect();
        sampled.iter().for_each(|(id, token)| outputs[id.0 as usize].push(*token));
        scheduler.commit(&sampled);
    }
    assert_eq!(scheduler.stats().blocks_used, 0);
    outputs
}

/// How far the logits of a prompt and its continuation are from the recorded ones, at most.
fn logit_error(model: &mut Model<CpuBackend>, recorded: &Recorded) -> f32 {
    let sequence = [recorded.prompt.as_slice(), &recorded.greedy].concat();
    let (mut start, mut error) = (0, 0.0f32);
    for RecordedLogits { position, values } in &recorded.logits {
        let mut batch = ForwardBatch::default();
        let table = (0..KV_BLOCKS).rev();
        batch.push(&sequence[start..=*position], start as u32, table, LogitsWanted::Yes);
        let logits = model.forward(&batch).unwrap();
        for (entry, expected) in recorded.entries.iter().zip(values) {
            error = error.max((logits.row(0)[*entry] - expected).abs());
        }
        start = position + 1;
    }
    error
}

#[test]
fn the_tokenizer_agrees_with_the_reference() {
    for case in &CASES {
        let dir = checkpoint(case);
        let tokenizer = Tokenizer::from_file(dir.path().join("tokenizer.json")).unwrap();
        for recorded in golden(case).prompts {
            let encoding = tokenizer.encode(recorded.text.as_str(), false).unwrap();
            assert_eq!(encoding.get_ids(), recorded.prompt);
            assert_eq!(tokenizer.decode(&recorded.prompt, false).unwrap(), recorded.text);
        }
    }
}

#[test]
fn logits_agree_with_the_reference_on_every_instruction_set() {
    for case in &CASES {
        let (dir, golden) = (checkpoint(case), golden(case));
        for isa in Isa::available() {
            let mut model = load(dir.path(), CpuBackend::with_isa(isa).unwrap());
            for recorded in &golden.prompts {
                let error = logit_error(&mut model, recorded);
                assert!(error <= LOGIT_ERROR_MAX, "{} on {isa:?}: off by {error}", case.name);
            }
        }
    }
}

#[test]
fn greedy_tokens_agree_whatever_the_step_size_and_again_from_the_prefix_cache() {
    for case in &CASES {
        let (dir, golden) = (checkpoint(case), golden(case));
        let mut model = load(dir.path(), CpuBackend::new());
        let expected: Vec<_> = golden.prompts.iter().map(|recorded| recorded.greedy.clone()).collect();
        for step_tokens_max in [5, 32, 512] {
            let config = SchedulerConfig { step_tokens_max, running_max: 3, ..SchedulerConfig::default() };
            let pool = PoolConfig { blocks: KV_BLOCKS, block_tokens: BLOCK_TOKENS, salt: 0 };
            let mut scheduler = Scheduler::new(config, BlockPool::new(pool));
            let outputs = generate(&mut model, &mut scheduler, &golden);
            assert_eq!(outputs, expected, "{}, {step_tokens_max} tokens a step", case.name);
            let outputs = generate(&mut model, &mut scheduler, &golden);
            assert_eq!(outputs, expected, "{}, from the cache", case.name);
            assert!(scheduler.stats().cached_tokens_total >= 100, "the long prompt was cached");
        }
    }
}

#[test]
fn preempted_sequences_say_the_same() {
    let (dir, golden) = (checkpoint(&CASES[0]), golden(&CASES[0]));
    let mut model = load(dir.path(), CpuBackend::new());
    let longest = golden.prompts.iter().map(|r| r.prompt.len() + r.greedy.len()).max().unwrap();
    // Just enough for the longest alone.
    let blocks = (longest as u32).div_ceil(BLOCK_TOKENS);
    let pool = BlockPool::new(PoolConfig { blocks, block_tokens: BLOCK_TOKENS, salt: 0 });
    let mut scheduler = Scheduler::new(SchedulerConfig::default(), pool);
    let outputs = generate(&mut model, &mut scheduler, &golden);
    let expected: Vec<_> = golden.prompts.iter().map(|recorded| recorded.greedy.clone()).collect();
    assert_eq!(outputs, expected);
}
