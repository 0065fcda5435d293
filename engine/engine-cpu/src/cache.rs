//! Keys and values of all layers, in numbered blocks.

use engine_backend::{Error, ForwardBatch, KvShape};
use half::bf16;

use crate::aligned::Aligned;
use crate::lanes::WIDTH;
use crate::threads::Shared;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvType {
    /// As they were computed.
    F32,
    /// Rounded.
    Bf16,
    /// As whole numbers up to 127, with a factor for each token and head.
    Int8,
}

/// A paged KV cache.
///
/// A block's keys lie `[head][dimension][token]`: the scores of sixteen tokens come out of one register. Its values
/// lie `[head][token][dimension]`. Narrow types lie in pairs of dimensions (keys) or of tokens (values):
/// `[head][dimension / 2][token][dimension % 2]`, which is what their instructions take. Innermost sides are filled up
/// to sixteen.
#[derive(Debug)]
pub struct Cache {
    pub(crate) shape: KvShape,
    layers: Vec<Layer>,
}

/// One layer's numbers.
#[derive(Debug)]
pub(crate) enum Layer {
    F32 { keys: Aligned<f32>, values: Aligned<f32> },
    Bf16 { keys: Aligned<bf16>, values: Aligned<bf16> },
    Int8 { keys: Aligned<i8>, values: Aligned<i8>, key_factors: Aligned<f32>, value_factors: Aligned<f32> },
}

const CACHE: &str = "the KV cache";

impl Cache {
    pub(crate) fn of(shape: KvShape, kv: KvType) -> Result<Cache, Error> {
        let sides = Sides::of(shape);
        let heads = shape.blocks * shape.heads.kv;
        let (keys, values) = (heads * sides.keys_len(kv), heads * sides.values_len(kv));
        let layer = |_| {
            Ok(match kv {
                KvType::F32 => {
                    Layer::F32 { keys: Aligned::zeroed(keys, CACHE)?, values: Aligned::zeroed(values, CACHE)? }
                }
                KvType::Bf16 => {
                    Layer::Bf16 { keys: Aligned::zeroed(keys, CACHE)?, values: Aligned::zeroed(values, CACHE)? }
                }
                KvType::Int8 => Layer::Int8 {
                    keys: Aligned::zeroed(keys, CACHE)?,
                    values: Aligned::zeroed(values, CACHE)?,
                    key_factors: Aligned::zeroed(heads * sides.tokens, CACHE)?,
                    value_factors: Aligned::zeroed(heads * sides.tokens, CACHE)?,
                },
            })
        };
        Ok(Cache { shape, layers: (0..shape.layers).map(layer).collect::<Result<_, Error>>()? })
    }

    pub(crate) fn layer(&self, layer: usize) -> &Layer {
        &self.layers[layer]
    }

    pub(crate) fn sides(&self) -> Sides {
        Sides::of(self.shape)
    }

    /// What several threads store through, each tokens of its own.
    pub(crate) fn writer(&mut self, layer: usize) -> Writer {
        let (shape, sides) = (self.shape, self.sides());
        let places = match &mut self.layers[layer] {
            Layer::F32 { keys, values } => Places::F32(Shared::of(keys), Shared::of(values)),
            Layer::Bf16 { keys, values } => Places::Bf16(Shared::of(keys), Shared::of(values)),
            Layer::Int8 { keys, values, key_factors, value_factors } => Places::Int8 {
                keys: Shared::of(keys),
                values: Shared::of(values),
                key_factors: Shared::of(key_factors),
                value_factors: Shared::of(value_factors),
            },
        };
        Writer { shape, sides, places }
    }

    /// That every sequence's table covers its tokens and names blocks that exist.
    pub(crate) fn check(&self, batch: &ForwardBatch) -> Result<(), Error> {
        let KvShape { blocks, block_tokens, .. } = self.shape;
        if let Some(block) = batch.blocks().iter().find(|block| **block as usize >= blocks) {
            return Err(Error::BadBatch(format!("block {block} of {blocks}")));
        }
        for sequence in batch.sequences() {
            let end = sequence.position as usize + sequence.tokens.len();
            if sequence.tokens.is_empty() || sequence.blocks.len() * block_tokens < end {
                let table = sequence.blocks.len();
                return Err(Error::BadBatch(format!("{table} blocks of {block_tokens} for {end} tokens")));
            }
        }
        Ok(())
    }
}

/// The sides of one head's part of a block, filled up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sides {
    /// Tokens a block's keys have room for, side by side.
    pub(crate) tokens: usize,
    /// Numbers a value has room for.
    pub(crate) dim: usize,
    block_tokens: usize,
    key_dim: usize,
}

impl Sides {
    fn of(shape: KvShape) -> Sides {
        let (tokens, dim) = (shape.block_tokens.next_multiple_of(WIDTH), shape.heads.dim.next_multiple_of(WIDTH));
        Sides { tokens, dim, block_tokens: shape.block_tokens, key_dim: shape.heads.dim }
    }

    /// Numbers in one head's keys of a block.
    pub(crate) fn keys_len(self, kv: KvType) -> usize {
        match kv {
            KvType::F32 => self.key_dim * self.tokens,
            KvType::Bf16 | KvType::Int8 => self.key_dim.next_multiple_of(2) * self.tokens,
        }
    }

    /// Numbers in one head's values of a block.
    pub(crate) fn values_len(self, kv: KvType) -> usize {
        match kv {
            KvType::F32 => self.block_tokens * self.dim,
            KvType::Bf16 | KvType::Int8 => self.block_tokens.next_multiple_of(2) * self.dim,
        }
    }
}

/// Where one head of one token goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) block: usize,
    pub(crate) token: usize,
    pub(crate) head: usize,
}

/// Stores keys and values of one layer.
#[derive(Clone, Copy)]
pub(crate) struct Writer {
    shape: KvShape,
    sides: Sides,
    places: Places,
}

#[derive(Clone, Copy)]
enum Places {
    F32(Shared<f32>, Shared<f32>),
    Bf16(Shared<bf16>, Shared<bf16>),
    Int8 { keys: Shared<i8>, values: Shared<i8>, key_factors: Shared<f32>, value_factors: Shared<f32> },
}

impl Writer {
    /// Stores one token's key and value of one head.
    ///
    /// # Safety
    /// The slot is inside the cache, which is still borrowed for this, and no other thread stores or reads it meanwhile.
    pub(crate) unsafe fn store(&self, slot: Slot, key: &[f32], value: &[f32]) {
        let Slot { block, token, head } = slot;
        let place = block * self.shape.heads.kv + head;
        let Sides { tokens, dim, .. } = self.sides;
        // SAFETY: the caller's promise.
        unsafe {
            match self.places {
                Places::F32(keys, values) => {
                    let start = place * self.sides.keys_len(KvType::F32) + token;
                    (0..).zip(key).for_each(|(d, key)| *keys.at(start + d * tokens) = *key);
                    let start = place * self.sides.values_len(KvType::F32) + token * dim;
                    values.part(start..start + value.len()).copy_from_slice(value);
                }
                Places::Bf16(keys, values) => {
                    let start = place * self.sides.keys_len(KvType::Bf16);
                    self.store_pairs(keys.from(start), token, key, bf16::from_f32);
                    let start = place * self.sides.values_len(KvType::Bf16);
                    self.store_value_pairs(values.from(start), token, value, bf16::from_f32);
                }
                Places::Int8 { keys, values, key_factors, value_factors } => {
                    let factor_at = place * tokens + token;
                    let (factor, narrow) = narrowing(key);
                    *key_factors.at(factor_at) = factor;
                    self.store_pairs(keys.from(place * self.sides.keys_len(KvType::Int8)), token, key, narrow);
                    let (factor, narrow) = narrowing(value);
                    *value_factors.at(factor_at) = factor;
                    let start = place * self.sides.values_len(KvType::Int8);
                    self.store_value_pairs(values.from(start), token, value, narrow);
                }
            }
        }
    }

    /// `[dimension / 2][token][dimension % 2]`.
    unsafe fn store_pairs<T>(&self, keys: Shared<T>, token: usize, key: &[f32], narrow: impl Fn(f32) -> T) {
        for (d, number) in key.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *keys.at((d / 2 * self.sides.tokens + token) * 2 + d % 2) = narrow(*number) };
        }
    }

    /// `[token / 2][dimension][token % 2]`.
    unsafe fn store_value_pairs<T>(&self, values: Shared<T>, token: usize, value: &[f32], narrow: impl Fn(f32) -> T) {
        for (d, number) in value.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *values.at((token / 2 * self.sides.dim + d) * 2 + token % 2) = narrow(*number) };
        }
    }
}

/// The factor that gives numbers back, and how they become whole numbers. What is not a number makes the factor none
/// either, so that it is not lost.
fn narrowing(numbers: &[f32]) -> (f32, impl Fn(f32) -> i8) {
    let greatest =
        numbers.iter().fold(0.0f32, |greatest, number| if number.abs() <= greatest { greatest } else { number.abs() });
    let factor = greatest / 127.0;
    let inverse = if greatest > 0.0 { 127.0 / greatest } else { 0.0 };
    (factor, move |number: f32| (number * inverse).round_ties_even() as i8)
}
