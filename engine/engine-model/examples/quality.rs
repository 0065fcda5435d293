//! What each precision costs: perplexity and divergence against f32, on text that the f32 model made up itself.
//!
//! `cargo run --release -p engine-model --example quality` prints the table in docs/models.md. The model is seeded
//! (`synth`, preset base, 80 M parameters); the text is sampled from it at temperature one, so that the f32 model's own
//! perplexity is the least there can be.

use std::error::Error;

use engine_backend::{DType, ForwardBatch, LogitsWanted};
use engine_cpu::CpuBackend;
use engine_model::{LoadOptions, Logits, Model, PlainType, Preset, Synth, synth};

const SEQUENCES: usize = 8;
const TOKENS: usize = 96;
const BLOCKS: u32 = 8;

/// A type's name, and the type.
const TYPES: [(&str, DType); 12] = [
    ("bf16", DType::Bf16),
    ("f16", DType::F16),
    ("Q8_0", DType::Q8_0),
    ("Q6_K", DType::Q6K),
    ("Q5_K", DType::Q5K),
    ("Q5_1", DType::Q5_1),
    ("Q5_0", DType::Q5_0),
    ("Q4_K", DType::Q4K),
    ("Q4_1", DType::Q4_1),
    ("Q4_0", DType::Q4_0),
    ("int4, groups of 32", DType::Int4 { group: 32 }),
    ("int4, groups of 128", DType::Int4 { group: 128 }),
];

type Text = [Vec<u32>; SEQUENCES];
/// For each position, each sequence's log-probabilities of the next token.
type Guesses = Vec<Vec<Vec<f64>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("headworks-quality-{}", std::process::id()));
    synth(&Synth { dtype: PlainType::F32, ..Synth::new(&dir, Preset::Base) })?;
    let load = |round_to| {
        let options = LoadOptions {
            kv_blocks: BLOCKS * SEQUENCES as u32,
            step_tokens_max: SEQUENCES as u32,
            step_logits_max: SEQUENCES as u32,
            round_to,
            ..LoadOptions::default()
        };
        Model::load(CpuBackend::new(), &dir, &options)
    };
    let (text, expected) = write(&mut load(None)?)?;
    println!("| weights | bits | perplexity | KL to f32 | same first choice |\n|---|---|---|---|---|");
    print("f32", DType::F32, &text, &expected, &expected);
    for (name, dtype) in TYPES {
        let found = read(&mut load(Some(dtype))?, &text)?;
        print(name, dtype, &text, &expected, &found);
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Samples texts, and keeps what the model thought at each position.
fn write(model: &mut Model<CpuBackend>) -> Result<(Text, Guesses), Box<dyn Error>> {
    let mut text: Text = std::array::from_fn(|sequence| vec![100 + 7 * sequence as u32]);
    let mut guesses = Vec::new();
    let mut chance = 0x9e37_79b9_7f4a_7c15u64;
    for position in 0..TOKENS {
        let guess = step(model, &text, position)?;
        for (sequence, guess) in text.iter_mut().zip(&guess) {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sequence.push(sample(guess, (chance >> 11) as f64 / (1u64 << 53) as f64));
        }
        guesses.push(guess);
    }
    Ok((text, guesses))
}

/// What a model thinks at each position of given texts.
fn read(model: &mut Model<CpuBackend>, text: &Text) -> Result<Guesses, Box<dyn Error>> {
    (0..TOKENS).map(|position| step(model, text, position)).collect()
}

fn step(model: &mut Model<CpuBackend>, text: &Text, position: usize) -> Result<Vec<Vec<f64>>, Box<dyn Error>> {
    let mut batch = ForwardBatch::default();
    for (index, sequence) in (0..).zip(text) {
        let blocks = index * BLOCKS..(index + 1) * BLOCKS;
        batch.push(&[sequence[position]], u32::try_from(position)?, blocks, LogitsWanted::Yes);
    }
    let logits: Logits = model.forward(&batch)?;
    Ok(logits.rows().map(log_probabilities).collect())
}

fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - highest).exp()).sum();
    logits.iter().map(|logit| f64::from(*logit) - highest - sum.ln()).collect()
}

fn sample(guess: &[f64], share: f64) -> u32 {
    let mut left = share;
    let found = guess.iter().position(|log| {
        left -= log.exp();
        left <= 0.0
    });
    found.unwrap_or(guess.len() - 1) as u32
}

fn print(name: &str, dtype: DType, text: &Text, expected: &Guesses, found: &Guesses) {
    let (mut surprise, mut divergence, mut same) = (0.0, 0.0, 0);
    for (position, (expected, found)) in expected.iter().zip(found).enumerate() {
        for ((sequence, expected), found) in text.iter().zip(expected).zip(found) {
            surprise -= found[sequence[position + 1] as usize];
            divergence += expected.iter().zip(found).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
            same += usize::from(first(expected) == first(found));
        }
    }
    let count = (SEQUENCES * TOKENS) as f64;
    let (numbers, bytes) = dtype.block();
    println!(
        "| {name} | {:.2} | {:.3} | {:.5} | {:.1} % |",
        bytes as f64 * 8.0 / numbers as f64,
        (surprise / count).exp(),
        divergence / count,
        same as f64 / count * 100.0
    );
}

fn first(guess: &[f64]) -> usize {
    guess.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |found| found.0)
}
