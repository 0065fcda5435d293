//! A loaded model: a checkpoint's parameters on a backend, and a forward pass over a batch.

use std::path::Path;

use engine_backend::{Backend, DType, Error, ForwardBatch};

use crate::checkpoint::Checkpoint;
use crate::gguf::{Gguf, GgufWeights};
use crate::layers::Layers;
use crate::weights::Weights;
use crate::{LoadError, ModelConfig};

/// How much room to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// KV blocks in the cache; the block pool must have as many.
    pub kv_blocks: u32,
    /// Tokens one KV block holds.
    pub block_tokens: u32,
    /// Most tokens in one batch.
    pub step_tokens_max: u32,
    /// Most sequences in one batch that want logits.
    pub step_logits_max: u32,
    /// What plain matrices are rounded to while they load; none: they stay as they are stored.
    pub round_to: Option<DType>,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions { kv_blocks: 1024, block_tokens: 16, step_tokens_max: 512, step_logits_max: 64, round_to: None }
    }
}

/// A model that can run.
pub struct Model<B: Backend> {
    backend: B,
    config: ModelConfig,
    options: LoadOptions,
    layers: Layers<B>,
}

impl<B: Backend> Model<B> {
    /// Loads a GGUF file, or config.json and the safetensors of a directory in Hugging Face layout.
    pub fn load(backend: B, path: &Path, options: &LoadOptions) -> Result<Model<B>, LoadError> {
        let (config, weights) = match Gguf::is_named_so(path) {
            true => {
                let file = Gguf::open(path)?;
                let config = file.config()?;
                let weights = GgufWeights::new(file, &config);
                (config, Weights::Gguf(weights))
            }
            false => {
                let config = ModelConfig::read(&path.join("config.json"))?;
                let weights = Weights::Files(Checkpoint::open(path)?, config.quantisation);
                (config, weights)
            }
        };
        let layers = Layers::load(&backend, &weights, &config, options)?;
        Ok(Model { backend, config, options: *options, layers })
    }

    /// What config.json says.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device and the instructions it uses, for logs.
    pub fn backend_name(&self) -> String {
        self.backend.name()
    }

    /// Computes a batch: stores its keys and values, and returns logits for each sequence that wants them.
    ///
    /// A row's numbers do not depend on what else is in the batch, nor on how a prompt was cut into chunks, if the
    /// backend promises the same of its operations (the CPU backend does).
    pub fn forward(&mut self, batch: &ForwardBatch) -> Result<Logits, Error> {
        let LoadOptions { step_tokens_max, step_logits_max, .. } = self.options;
        within("tokens", batch.tokens().len(), step_tokens_max)?;
        within("rows of logits", batch.logits_rows(), step_logits_max)?;
        let mut logits = Logits { vocab: self.config.vocab, values: Vec::new() };
        if !batch.tokens().is_empty() {
            self.layers.forward(&self.backend, &self.config, batch, &mut logits.values)?;
        }
        Ok(logits)
    }
}

fn within(what: &str, found: usize, most: u32) -> Result<(), Error> {
    match found <= most as usize {
        true => Ok(()),
        false => Err(Error::BadBatch(format!("{found} {what}, the model has room for {most}"))),
    }
}

/// A row of `vocab` numbers for each sequence of the batch that wanted logits, in the batch's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logits {
    vocab: usize,
    values: Vec<f32>,
}

impl Logits {
    /// The n-th row.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn row(&self, n: usize) -> &[f32] {
        &self.values[n * self.vocab..(n + 1) * self.vocab]
    }

    /// In the batch's order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.vocab.max(1))
    }
}
