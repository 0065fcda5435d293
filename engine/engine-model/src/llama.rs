//! A Llama-shaped stack of layers: its parameters, and the order in which a backend applies them.

use engine_backend::{Attention, Backend, Error, ForwardBatch, Heads, KvShape, Norm, Rope, Shape, Source};

use crate::checkpoint::Checkpoint;
use crate::rope::rope;
use crate::{LoadError, LoadOptions, ModelConfig};

/// Everything on the device.
pub(crate) struct Llama<B: Backend> {
    embedding: B::Matrix,
    layers: Vec<Layer<B>>,
    norm: B::Vector,
    /// None if the head is the embedding.
    head: Option<B::Matrix>,
    ropes: [Rope; 1],
    heads: Heads,
    epsilon: f32,
    cache: B::KvCache,
    room: Room<B>,
}

struct Layer<B: Backend> {
    attention_norm: B::Vector,
    /// Query, key and value read the same input, so they are one matrix.
    qkv: Linear<B>,
    output: Linear<B>,
    mlp_norm: B::Vector,
    /// Gate, then up.
    gate_up: Linear<B>,
    down: Linear<B>,
}

struct Linear<B: Backend> {
    weight: B::Matrix,
    bias: Option<B::Vector>,
}

/// Activations, allocated once for the largest step.
struct Room<B: Backend> {
    /// The residual stream.
    sum: B::Tensor,
    normed: B::Tensor,
    qkv: B::Tensor,
    attended: B::Tensor,
    /// What a block adds to the stream.
    added: B::Tensor,
    gate_up: B::Tensor,
    gated: B::Tensor,
    sum_picked: B::Tensor,
    added_picked: B::Tensor,
    logits: B::Tensor,
}

impl<B: Backend> Llama<B> {
    pub(crate) fn load(
        backend: &B,
        checkpoint: &Checkpoint,
        config: &ModelConfig,
        options: &LoadOptions,
    ) -> Result<Llama<B>, LoadError> {
        let read = Reader { backend, checkpoint, config };
        let head = match config.tied_embeddings {
            true => None,
            false => Some(read.matrix(&["lm_head.weight"], &[config.vocab], config.hidden)?),
        };
        let layers: Result<Vec<Layer<B>>, LoadError> = (0..config.layers).map(|index| read.layer(index)).collect();
        let cache = KvShape {
            layers: config.layers,
            blocks: options.kv_blocks as usize,
            block_tokens: options.block_tokens as usize,
            heads: config.heads,
        };
        let failed = |what: &str| {
            let what = what.to_owned();
            |source| LoadError::Backend { what, source }
        };
        Ok(Llama {
            embedding: read.matrix(&["model.embed_tokens.weight"], &[config.vocab], config.hidden)?,
            layers: layers?,
            norm: read.vector(&["model.norm.weight"], &[config.hidden])?,
            head,
            ropes: [rope(config)],
            heads: config.heads,
            epsilon: config.norm_epsilon,
            cache: backend.kv_cache(cache).map_err(failed("allocate the KV cache"))?,
            room: Room::new(backend, config, options).map_err(failed("allocate activations"))?,
        })
    }

    /// Runs a batch through all layers; `logits` receives a row for each sequence that wanted one.
    pub(crate) fn forward(&mut self, backend: &B, batch: &ForwardBatch, logits: &mut Vec<f32>) -> Result<(), Error> {
        let Llama { embedding, layers, norm, head, ropes, heads, epsilon, cache, room } = self;
        let epsilon = *epsilon;
        let step = backend.step(batch, ropes, cache)?;
        backend.embed(&step, embedding, &mut room.sum)?;
        for (index, layer) in layers.iter().enumerate() {
            let weight = &layer.attention_norm;
            let first = Norm { weight, epsilon };
            match index {
                0 => backend.rms_norm(first, &room.sum, &mut room.normed)?,
                _ => backend.add_rms_norm(first, &mut room.sum, &room.added, &mut room.normed)?,
            }
            layer.qkv.apply(backend, &room.normed, &mut room.qkv)?;
            let attention = Attention::plain(index, *heads);
            backend.rotate_and_store(&step, &mut room.qkv, cache, &attention)?;
            backend.attend(&step, &room.qkv, cache, &attention, &mut room.attended)?;
            layer.output.apply(backend, &room.attended, &mut room.added)?;
            let second = Norm { weight: &layer.mlp_norm, epsilon };
            backend.add_rms_norm(second, &mut room.sum, &room.added, &mut room.normed)?;
            layer.gate_up.apply(backend, &room.normed, &mut room.gate_up)?;
            backend.silu_mul(&room.gate_up, &mut room.gated)?;
            layer.down.apply(backend, &room.gated, &mut room.added)?;
        }
        logits.clear();
        if batch.logits_rows() == 0 {
            return Ok(());
        }
        // Only the rows that are sampled from go through the head, by far the widest matrix of a small model.
        backend.pick_rows(&step, &room.sum, &mut room.sum_picked)?;
        backend.pick_rows(&step, &room.added, &mut room.added_picked)?;
        let last = Norm { weight: &*norm, epsilon };
        backend.add_rms_norm(last, &mut room.sum_picked, &room.added_picked, &mut room.normed)?;
        let head = head.as_ref().unwrap_or(embedding);
        backend.linear(&room.normed, head, None, &mut room.logits)?;
        backend.read(&room.logits, logits)
    }
}

impl<B: Backend> Linear<B> {
    fn apply(&self, backend: &B, x: &B::Tensor, out: &mut B::Tensor) -> Result<(), Error> {
        backend.linear(x, &self.weight, self.bias.as_ref(), out)
    }
}

impl<B: Backend> Room<B> {
    fn new(backend: &B, config: &ModelConfig, options: &LoadOptions) -> Result<Room<B>, Error> {
        let ModelConfig { vocab, hidden, intermediate, heads, .. } = *config;
        let (step, picked) = (options.step_tokens_max as usize, options.step_logits_max as usize);
        let wide = |columns| backend.tensor(Shape { rows: step, columns });
        let short = |columns| backend.tensor(Shape { rows: picked, columns });
        Ok(Room {
            sum: wide(hidden)?,
            normed: wide(hidden)?,
            qkv: wide(heads.qkv_columns())?,
            attended: wide(heads.query_columns())?,
            added: wide(hidden)?,
            gate_up: wide(2 * intermediate)?,
            gated: wide(intermediate)?,
            sum_picked: short(hidden)?,
            added_picked: short(hidden)?,
            logits: short(vocab)?,
        })
    }
}

/// Takes parameters out of a checkpoint and hands them to a backend.
struct Reader<'a, B> {
    backend: &'a B,
    checkpoint: &'a Checkpoint,
    config: &'a ModelConfig,
}

impl<B: Backend> Reader<'_, B> {
    fn layer(&self, index: usize) -> Result<Layer<B>, LoadError> {
        let ModelConfig { hidden, intermediate, heads, qkv_bias, output_bias, mlp_bias, .. } = *self.config;
        let (query, kv) = (heads.query_columns(), heads.kv_columns());
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let linear = |parts: &[&str], rows: &[usize], columns: usize, bias: bool| {
            let named =
                |suffix: &str| -> Vec<String> { parts.iter().map(|part| name(&format!("{part}.{suffix}"))).collect() };
            let weight = self.matrix(&named("weight"), rows, columns)?;
            let bias = bias.then(|| self.vector(&named("bias"), rows)).transpose()?;
            Ok(Linear { weight, bias })
        };
        let qkv = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
        let gate_up = ["mlp.gate_proj", "mlp.up_proj"];
        Ok(Layer {
            attention_norm: self.vector(&[name("input_layernorm.weight")], &[hidden])?,
            qkv: linear(&qkv, &[query, kv, kv], hidden, qkv_bias)?,
            output: linear(&["self_attn.o_proj"], &[hidden], query, output_bias)?,
            mlp_norm: self.vector(&[name("post_attention_layernorm.weight")], &[hidden])?,
            gate_up: linear(&gate_up, &[intermediate; 2], hidden, mlp_bias)?,
            down: linear(&["mlp.down_proj"], &[hidden], intermediate, mlp_bias)?,
        })
    }

    /// One matrix from tensors that lie below each other.
    fn matrix<N: AsRef<str>>(&self, names: &[N], rows: &[usize], columns: usize) -> Result<B::Matrix, LoadError> {
        let parts = names.iter().zip(rows);
        let parts: Result<Vec<_>, _> =
            parts.map(|(name, rows)| self.checkpoint.tensor(name.as_ref(), &[*rows, columns])).collect();
        let shape = Shape { rows: rows.iter().sum(), columns };
        let stored = self.backend.matrix(&Source { shape, parts: parts? });
        stored.map_err(|source| failed(names, source))
    }

    /// One vector from tensors that follow each other.
    fn vector<N: AsRef<str>>(&self, names: &[N], lengths: &[usize]) -> Result<B::Vector, LoadError> {
        let parts = names.iter().zip(lengths);
        let parts: Result<Vec<_>, _> =
            parts.map(|(name, length)| self.checkpoint.tensor(name.as_ref(), &[*length])).collect();
        let shape = Shape { rows: 1, columns: lengths.iter().sum() };
        let stored = self.backend.vector(&Source { shape, parts: parts? });
        stored.map_err(|source| failed(names, source))
    }
}

fn failed<N: AsRef<str>>(names: &[N], source: Error) -> LoadError {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    LoadError::Backend { what: format!("store {}", names.join(", ")), source }
}
