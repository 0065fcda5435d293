//! The tensors' names, shapes and seeded numbers, and the safetensors files they are written to.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use half::{bf16, f16};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use safetensors::tensor::{Dtype, View, serialize};
use serde_json::json;

use super::files::File;
use super::tokenizer::BEGIN_TURN;
use super::{PlainType, Size, Synth, SynthError};
use crate::Architecture;

/// Logits should differ by much more than rounding: greedy choices must not depend on the order of a sum.
const HEAD_GAIN: f32 = 3.0;
/// Sharpens attention, so that a wrong cached key changes the text.
const QUERY_KEY_GAIN: f32 = 1.5;

/// A tensor as it will be stored.
pub(super) struct Tensor {
    name: String,
    shape: Vec<usize>,
    dtype: PlainType,
    bytes: Vec<u8>,
}

impl Tensor {
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// All tensors of a model.
pub(super) fn tensors(wanted: &Synth, size: Size, vocab: usize) -> Vec<Tensor> {
    let Size { vocab_max: _, hidden, intermediate, layers, heads, context: _ } = size;
    let mut draw = Draw { seed: wanted.seed, dtype: wanted.dtype, tensors: Vec::new() };
    draw.matrix("model.embed_tokens.weight", [vocab, hidden], (hidden as f32).sqrt());
    for layer in 0..layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        draw.norm(name("input_layernorm.weight"), hidden);
        let (query, kv) = (heads.query_columns(), heads.kv_columns());
        for (part, rows, gain) in [("q", query, QUERY_KEY_GAIN), ("k", kv, QUERY_KEY_GAIN), ("v", kv, 1.0)] {
            draw.matrix(name(&format!("self_attn.{part}_proj.weight")), [rows, hidden], gain);
            if wanted.architecture == Architecture::Qwen2 {
                draw.bias(name(&format!("self_attn.{part}_proj.bias")), rows);
            }
        }
        draw.matrix(name("self_attn.o_proj.weight"), [hidden, query], 1.0);
        draw.norm(name("post_attention_layernorm.weight"), hidden);
        draw.matrix(name("mlp.gate_proj.weight"), [intermediate, hidden], 1.0);
        draw.matrix(name("mlp.up_proj.weight"), [intermediate, hidden], 1.0);
        draw.matrix(name("mlp.down_proj.weight"), [hidden, intermediate], 1.0);
    }
    draw.norm("model.norm.weight", hidden);
    if !wanted.tied_embeddings {
        draw.matrix("lm_head.weight", [vocab, hidden], HEAD_GAIN);
        // A chat message never begins inside an answer.
        let row = hidden * wanted.dtype.bytes();
        let head = draw.tensors.last_mut().expect("drawn above");
        head.bytes[BEGIN_TURN.id as usize * row..][..row].fill(0);
    }
    draw.tensors
}

/// Draws tensors; each has a stream of its own, so that one more tensor changes no other.
struct Draw {
    seed: u64,
    dtype: PlainType,
    tensors: Vec<Tensor>,
}

impl Draw {
    /// Numbers about zero, such that inputs of size one give outputs of size `gain`.
    fn matrix(&mut self, name: impl Into<String>, shape: [usize; 2], gain: f32) {
        let deviation = gain / (shape[1] as f32).sqrt();
        self.tensor(name.into(), &shape, |normal| deviation * normal);
    }

    fn norm(&mut self, name: impl Into<String>, columns: usize) {
        self.tensor(name.into(), &[columns], |normal| 1.0 + 0.1 * normal);
    }

    fn bias(&mut self, name: impl Into<String>, columns: usize) {
        self.tensor(name.into(), &[columns], |normal| 0.5 * normal);
    }

    fn tensor(&mut self, name: String, shape: &[usize], number: impl Fn(f32) -> f32) {
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed);
        chance.set_stream(stream(&name));
        let count = shape.iter().product();
        let numbers = (0..count).map(|_| number(normal(&mut chance)));
        let bytes = match self.dtype {
            PlainType::F32 => numbers.flat_map(f32::to_le_bytes).collect(),
            PlainType::F16 => numbers.flat_map(|number| f16::from_f32(number).to_le_bytes()).collect(),
            PlainType::Bf16 => numbers.flat_map(|number| bf16::from_f32(number).to_le_bytes()).collect(),
        };
        self.tensors.push(Tensor { name, shape: shape.to_vec(), dtype: self.dtype, bytes });
    }
}

/// FNV-1a: names a tensor's random stream the same way forever.
fn stream(name: &str) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// About normal, deviation one: four uniform numbers added. Integers only, so every platform draws the same.
fn normal(chance: &mut ChaCha8Rng) -> f32 {
    const MEAN: i32 = 2 * 65_535;
    const DEVIATION: f32 = 37_837.227;
    let bits = chance.next_u64();
    let quarters = [bits, bits >> 16, bits >> 32, bits >> 48].map(|bits| (bits & 0xffff) as i32);
    (quarters.iter().sum::<i32>() - MEAN) as f32 / DEVIATION
}

/// One file, or shards and their index.
pub(super) fn files(wanted: &Synth, tensors: Vec<Tensor>) -> Result<Vec<File>, SynthError> {
    let bytes_total: usize = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
    let shards = shards(tensors, wanted.shard_bytes_max.unwrap_or(usize::MAX));
    if let [all] = shards.as_slice() {
        return Ok(vec![file("model.safetensors".to_owned(), all)?]);
    }
    let mut files = Vec::new();
    let mut weight_map = BTreeMap::new();
    for (index, shard) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", index + 1, shards.len());
        weight_map.extend(shard.iter().map(|tensor| (tensor.name.clone(), name.clone())));
        files.push(file(name, shard)?);
    }
    let index = json!({ "metadata": { "total_size": bytes_total }, "weight_map": weight_map });
    files.push(File::json("model.safetensors.index.json", &index));
    Ok(files)
}

/// Fills shards in order; a tensor larger than a shard gets one of its own.
fn shards(tensors: Vec<Tensor>, bytes_max: usize) -> Vec<Vec<Tensor>> {
    let mut shards = vec![Vec::new()];
    let mut bytes = 0;
    for tensor in tensors {
        if bytes > 0 && bytes + tensor.bytes.len() > bytes_max {
            shards.push(Vec::new());
            bytes = 0;
        }
        bytes += tensor.bytes.len();
        shards.last_mut().expect("begins with one").push(tensor);
    }
    shards
}

fn file(name: String, tensors: &[Tensor]) -> Result<File, SynthError> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let named = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor));
    let bytes = serialize(named, Some(metadata))
        .map_err(|error| SynthError::Make { what: "safetensors", reason: error.to_string() })?;
    Ok(File { name, bytes })
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        match self.dtype {
            PlainType::F32 => Dtype::F32,
            PlainType::F16 => Dtype::F16,
            PlainType::Bf16 => Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
