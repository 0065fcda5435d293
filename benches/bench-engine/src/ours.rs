//! Our side: a model on the CPU backend, stepped without scheduler or sampler.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use engine_backend::{ForwardBatch, LogitsWanted};
use engine_cpu::{CpuBackend, CpuOptions, Isa, KvType, Threads, ThreadsConfig};
use engine_model::{LoadOptions, Model};

use crate::case::{Case, Sample};
use crate::report::Row;
use crate::{Kv, machine};

const BLOCK_TOKENS: usize = 16;
/// What a start may take, to the first token of a short prompt.
const START_S_MAX: f64 = 1.5;
/// What memory may be, of weights and KV.
const MEMORY_RATIO_MAX: f64 = 1.15;
/// The share of the read bandwidth that a token at batch 1 must reach.
const FLOOR_SHARE_MIN: f64 = 0.75;

pub(crate) struct Ours {
    model: Model<CpuBackend>,
    start_s: f64,
    memory_bytes: usize,
    weights_bytes: usize,
    kv_bytes: usize,
}

impl Ours {
    pub(crate) fn load(path: &Path, kv: Kv, threads: usize, cases: &[Case]) -> anyhow::Result<Ours> {
        let (kv, number_bytes) = match kv {
            Kv::F32 => (KvType::F32, 4),
            Kv::Bf16 => (KvType::Bf16, 2),
            Kv::Int8 => (KvType::Int8, 1),
        };
        let blocks = cases.iter().map(|case| {
            let (sequences, tokens) = case.sequences();
            sequences * tokens.div_ceil(BLOCK_TOKENS)
        });
        let most = |of: fn(&Case) -> usize| cases.iter().map(of).max().unwrap_or(1) as u32;
        let options = LoadOptions {
            kv_blocks: blocks.max().unwrap_or(1) as u32,
            block_tokens: BLOCK_TOKENS as u32,
            step_tokens_max: most(|case| case.tokens()),
            step_logits_max: most(|case| case.sequences().0),
            ..LoadOptions::default()
        };
        let before = machine::memory_bytes();
        let started = Instant::now();
        let isa = Isa::available()[0];
        let threads = Arc::new(Threads::new(ThreadsConfig { count: threads, ..ThreadsConfig::default() }));
        let backend = CpuBackend::with(CpuOptions { kv, ..CpuOptions::fast(isa) }, threads);
        let backend = backend.expect("the machine has its best instructions");
        let mut model = Model::load(backend, path, &options)?;
        let mut batch = ForwardBatch::default();
        batch.push(&[1, 2, 3, 4], 0, [0], LogitsWanted::Yes);
        model.forward(&batch)?;
        let start_s = started.elapsed().as_secs_f64();
        let memory_bytes = machine::memory_bytes().saturating_sub(before);
        let config = model.config();
        let numbers = config.layers.len() * 2 * config.heads.kv_columns() * options.kv_blocks as usize * BLOCK_TOKENS;
        let kv_bytes = numbers * number_bytes;
        Ok(Ours { model, start_s, memory_bytes, weights_bytes: weights_bytes(path), kv_bytes })
    }

    pub(crate) fn backend_name(&self) -> String {
        self.model.backend_name()
    }

    /// What loading took.
    pub(crate) fn loading(&self, weights: &str) -> Vec<Row> {
        let ratio = self.memory_bytes as f64 / (self.weights_bytes + self.kv_bytes) as f64;
        vec![
            Row::alone(format!("start to first token, {weights}"), self.start_s, "s", START_S_MAX),
            Row::alone(format!("memory by weights and KV, {weights}"), ratio, "", MEMORY_RATIO_MAX),
        ]
    }

    /// What part of the memory's bandwidth a token's weights came with.
    pub(crate) fn of_floor(&self, case: Case, weights: &str, best: Sample, bandwidth: f64) -> Option<Row> {
        let share = self.weights_bytes as f64 / best.wall_s / bandwidth;
        let row = Row::at_least(format!("{case}, {weights}: share of the read bandwidth"), share, "", FLOOR_SHARE_MIN);
        (weights == "bf16").then_some(row)
    }

    /// One step, so that memory is touched and threads are awake.
    pub(crate) fn warm_up(&mut self, case: Case) -> anyhow::Result<()> {
        self.model.forward(&batch(case, 0))?;
        Ok(())
    }

    pub(crate) fn sample(&mut self, case: Case) -> anyhow::Result<Sample> {
        let mut wall_s = f64::INFINITY;
        let cpu = machine::cpu_seconds();
        for step in 0..case.steps() {
            let batch = batch(case, step);
            let started = Instant::now();
            self.model.forward(&batch)?;
            wall_s = wall_s.min(started.elapsed().as_secs_f64());
        }
        let cpu_s = (machine::cpu_seconds() - cpu) / case.steps() as f64;
        Ok(Sample { wall_s, cpu_s })
    }
}

/// A step's tokens; sequences have blocks of their own.
fn batch(case: Case, step: usize) -> ForwardBatch {
    let mut batch = ForwardBatch::default();
    let (sequences, tokens) = case.sequences();
    let per_sequence = tokens.div_ceil(BLOCK_TOKENS) as u32;
    for sequence in 0..sequences as u32 {
        let blocks = sequence * per_sequence..(sequence + 1) * per_sequence;
        match case {
            Case::Prefill { tokens } => {
                let tokens: Vec<u32> = (0..tokens as u32).map(|token| token * 37 % 1000).collect();
                batch.push(&tokens, 0, blocks, LogitsWanted::Yes);
            }
            Case::Decode { context, .. } => {
                batch.push(&[sequence + 5], (context + step) as u32, blocks, LogitsWanted::Yes);
            }
        }
    }
    batch
}

/// What the weights take in their file or files.
fn weights_bytes(path: &Path) -> usize {
    let len = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len() as usize);
    if path.is_file() {
        return len(path);
    }
    let files = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|file| file.extension().is_some_and(|end| end == "safetensors")).map(|file| len(&file)).sum()
}
