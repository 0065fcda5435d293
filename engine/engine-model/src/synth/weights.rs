//! The tensors' names, shapes and seeded numbers, and the safetensors files they are written to.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use half::{bf16, f16};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use safetensors::tensor::{Dtype, View, serialize};
use serde_json::{Map, Value, json};

use super::files::File;
use super::tokenizer::BEGIN_TURN;
use super::{PlainType, Synth, SynthError};
use crate::config::Fields;
use crate::parameters::{Parameters, Stack};
use crate::{LoadError, ModelConfig};

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

/// All tensors of the model that a config.json describes.
pub(super) fn tensors(wanted: &Synth, config: &Map<String, Value>) -> Result<Vec<Tensor>, SynthError> {
    let path = wanted.out.join("config.json");
    let config = ModelConfig::of(&Fields::of(&path, config.clone(), HashMap::new()))?;
    let draw = Draw { seed: wanted.seed, dtype: wanted.dtype, config: &config, tensors: RefCell::default() };
    Stack::take(&draw, &config)?;
    Ok(draw.tensors.into_inner())
}

/// Draws each tensor that the model asks for. Each has a random stream of its own, so that one more changes no other.
struct Draw<'a> {
    seed: u64,
    dtype: PlainType,
    config: &'a ModelConfig,
    tensors: RefCell<Vec<Tensor>>,
}

impl Parameters for Draw<'_> {
    type Matrix = ();
    type Vector = ();

    /// Numbers about zero, such that inputs of size one give outputs of size `gain`.
    fn matrix(&self, names: &[String], rows: &[usize], columns: usize) -> Result<(), LoadError> {
        for (name, rows) in names.iter().zip(rows) {
            let deviation = self.gain(name) / (columns as f32).sqrt();
            self.tensor(name, &[*rows, columns], |normal| deviation * normal);
            if name == "lm_head.weight" {
                self.silence(BEGIN_TURN.id as usize);
            }
        }
        Ok(())
    }

    /// A bias.
    fn vector(&self, names: &[String], lengths: &[usize]) -> Result<(), LoadError> {
        names.iter().zip(lengths).for_each(|(name, length)| self.tensor(name, &[*length], |normal| 0.5 * normal));
        Ok(())
    }

    fn norm(&self, name: String, columns: usize) -> Result<(), LoadError> {
        let whole = 1.0 - self.config.norm_offset;
        self.tensor(&name, &[columns], |normal| whole + 0.1 * normal);
        Ok(())
    }
}

impl Draw<'_> {
    fn gain(&self, name: &str) -> f32 {
        let part = name.rsplit('.').nth(1).unwrap_or(name);
        match part {
            "embed_tokens" => (self.config.hidden as f32).sqrt() / self.config.embedding_scale.unwrap_or(1.0),
            "lm_head" => HEAD_GAIN,
            "q_proj" | "k_proj" | "qkv_proj" => QUERY_KEY_GAIN,
            _ => 1.0,
        }
    }

    /// A chat message never begins inside an answer.
    fn silence(&self, token: usize) {
        let row = self.config.hidden * self.dtype.bytes();
        let mut tensors = self.tensors.borrow_mut();
        let head = tensors.last_mut().expect("drawn just now");
        head.bytes[token * row..][..row].fill(0);
    }

    fn tensor(&self, name: &str, shape: &[usize], number: impl Fn(f32) -> f32) {
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed);
        chance.set_stream(stream(name));
        let count = shape.iter().product();
        let numbers = (0..count).map(|_| number(normal(&mut chance)));
        let bytes = match self.dtype {
            PlainType::F32 => numbers.flat_map(f32::to_le_bytes).collect(),
            PlainType::F16 => numbers.flat_map(|number| f16::from_f32(number).to_le_bytes()).collect(),
            PlainType::Bf16 => numbers.flat_map(|number| bf16::from_f32(number).to_le_bytes()).collect(),
        };
        let tensor = Tensor { name: name.to_owned(), shape: shape.to_vec(), dtype: self.dtype, bytes };
        self.tensors.borrow_mut().push(tensor);
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
