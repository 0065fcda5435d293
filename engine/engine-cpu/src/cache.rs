//! Keys and values of all layers, in numbered blocks.

use engine_backend::{Error, ForwardBatch, KvShape};

use crate::lanes::WIDTH;

/// A paged KV cache in f32.
///
/// A block's keys lie `[head][dimension][token]`: the scores of sixteen tokens come out of one register. Its values
/// lie `[head][token][dimension]`. Both innermost sides are filled up to sixteen.
#[derive(Debug)]
pub struct Cache {
    pub(crate) shape: KvShape,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Cache {
    pub(crate) fn of(shape: KvShape) -> Result<Cache, Error> {
        let KvShape { layers, blocks, block_tokens, heads } = shape;
        let per_block = |a: usize, b: usize| heads.kv * a * b.next_multiple_of(WIDTH);
        let keys = blocks * per_block(heads.dim, block_tokens);
        let values = blocks * per_block(block_tokens, heads.dim);
        let zeros = |len: usize| {
            let mut numbers = Vec::new();
            let bytes = layers * (keys + values) * size_of::<f32>();
            numbers.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { what: "the KV cache", bytes })?;
            numbers.resize(len, 0.0);
            Ok(numbers)
        };
        let layer = |_| Ok(Layer { keys: zeros(keys)?, values: zeros(values)? });
        Ok(Cache { shape, layers: (0..layers).map(layer).collect::<Result<_, _>>()? })
    }

    /// Tokens a block's keys have room for, side by side.
    pub(crate) fn tokens_padded(&self) -> usize {
        self.shape.block_tokens.next_multiple_of(WIDTH)
    }

    /// Numbers a value has room for.
    pub(crate) fn dim_padded(&self) -> usize {
        self.shape.heads.dim.next_multiple_of(WIDTH)
    }

    /// One head of one block: `[dimension][token]`.
    pub(crate) fn keys(&self, layer: usize, block: usize, head: usize) -> &[f32] {
        let size = self.shape.heads.dim * self.tokens_padded();
        &self.layers[layer].keys[(block * self.shape.heads.kv + head) * size..][..size]
    }

    /// One head of one block: `[token][dimension]`.
    pub(crate) fn values(&self, layer: usize, block: usize, head: usize) -> &[f32] {
        let size = self.shape.block_tokens * self.dim_padded();
        &self.layers[layer].values[(block * self.shape.heads.kv + head) * size..][..size]
    }

    /// Stores one token's key and value of one head.
    pub(crate) fn store(&mut self, layer: usize, slot: Slot, key: &[f32], value: &[f32]) {
        let (tokens, dim) = (self.tokens_padded(), self.dim_padded());
        let KvShape { block_tokens, heads, .. } = self.shape;
        let Slot { block, token, head } = slot;
        let place = block * heads.kv + head;
        let Layer { keys, values } = &mut self.layers[layer];
        let keys = &mut keys[place * heads.dim * tokens..][..heads.dim * tokens];
        keys[token..].iter_mut().step_by(tokens).zip(key).for_each(|(to, key)| *to = *key);
        values[(place * block_tokens + token) * dim..][..heads.dim].copy_from_slice(value);
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

/// Where one head of one token goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) block: usize,
    pub(crate) token: usize,
    pub(crate) head: usize,
}
