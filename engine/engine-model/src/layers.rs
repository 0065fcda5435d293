//! A stack of layers on a device: the order in which a backend applies a model's parameters.

use engine_backend::{Attention, Backend, Error, Experts, ForwardBatch, KvShape, Norm, Rope, Shape};

use crate::parameters::{Feed, Layer, Linear, Stack};
use crate::reader::Reader;
use crate::rope::rope;
use crate::weights::Weights;
use crate::{Gate, LoadError, LoadOptions, ModelConfig, Norms};

/// Everything on the device.
pub(crate) struct Layers<B: Backend> {
    stack: Stack<B::Matrix, B::Vector>,
    ropes: Vec<Rope>,
    cache: B::KvCache,
    room: Room<B>,
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
    /// The same after its norm.
    added_normed: B::Tensor,
    gated: B::Tensor,
    /// A router's logits.
    routed: B::Tensor,
    sum_picked: B::Tensor,
    added_picked: B::Tensor,
    logits: B::Tensor,
}

impl<B: Backend> Layers<B> {
    pub(crate) fn load(
        backend: &B,
        weights: &Weights,
        config: &ModelConfig,
        options: &LoadOptions,
    ) -> Result<Layers<B>, LoadError> {
        let reader = Reader { backend, weights, norm_offset: config.norm_offset, round_to: options.round_to };
        let stack = Stack::take(&reader, config)?;
        let cache = KvShape {
            layers: config.layers.len(),
            blocks: options.kv_blocks as usize,
            block_tokens: options.block_tokens as usize,
            heads: config.heads,
        };
        let failed = |what: &str| {
            let what = what.to_owned();
            |source| LoadError::Backend { what, source }
        };
        // No sequence is longer than all blocks together.
        let context = config.context_tokens_max.min(options.kv_blocks.saturating_mul(options.block_tokens));
        Ok(Layers {
            stack,
            ropes: config.ropes.iter().map(|config| rope(config, context)).collect(),
            cache: backend.kv_cache(cache).map_err(failed("allocate the KV cache"))?,
            room: Room::new(backend, config, options).map_err(failed("allocate activations"))?,
        })
    }

    /// Runs a batch through all layers; `logits` receives a row for each sequence that wanted one.
    pub(crate) fn forward(
        &mut self,
        backend: &B,
        config: &ModelConfig,
        batch: &ForwardBatch,
        logits: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let Layers { stack, ropes, cache, room } = self;
        let epsilon = config.norm_epsilon;
        let step = backend.step(batch, ropes, cache)?;
        backend.embed(&step, &stack.embedding, &mut room.sum)?;
        if let Some(factor) = config.embedding_scale {
            backend.scale(factor, &mut room.sum)?;
        }
        for (index, layer) in stack.layers.iter().enumerate() {
            let first = Norm { weight: &layer.attention_norm, epsilon };
            match index {
                0 => backend.rms_norm(first, &room.sum, &mut room.normed)?,
                _ => backend.add_rms_norm(first, &mut room.sum, &room.added, &mut room.normed)?,
            }
            let pass = Pass { backend, config, layer };
            pass.attend(&step, index, cache, room)?;
            pass.norm_added(layer.attention_post_norm.as_ref(), room)?;
            let second = Norm { weight: &layer.feed_norm, epsilon };
            backend.add_rms_norm(second, &mut room.sum, &room.added, &mut room.normed)?;
            pass.feed(room)?;
            pass.norm_added(layer.feed_post_norm.as_ref(), room)?;
        }
        logits.clear();
        if batch.logits_rows() == 0 {
            return Ok(());
        }
        // Only the rows that are sampled from go through the head, by far the widest matrix of a small model.
        backend.pick_rows(&step, &room.sum, &mut room.sum_picked)?;
        backend.pick_rows(&step, &room.added, &mut room.added_picked)?;
        let last = Norm { weight: &stack.norm, epsilon };
        backend.add_rms_norm(last, &mut room.sum_picked, &room.added_picked, &mut room.normed)?;
        let head = stack.head.as_ref().unwrap_or(&stack.embedding);
        backend.linear(&room.normed, head, None, &mut room.logits)?;
        if let Some(cap) = config.logits_soft_cap {
            backend.soft_cap(cap, &mut room.logits)?;
        }
        backend.read(&room.logits, logits)
    }
}

/// One layer's turn.
struct Pass<'a, B: Backend> {
    backend: &'a B,
    config: &'a ModelConfig,
    layer: &'a Layer<B::Matrix, B::Vector>,
}

impl<B: Backend> Pass<'_, B> {
    /// From `room.normed` to `room.added`.
    fn attend(&self, step: &B::Step, index: usize, cache: &mut B::KvCache, room: &mut Room<B>) -> Result<(), Error> {
        let Pass { backend, config, layer } = self;
        let placed = config.layers[index];
        let attention = Attention {
            layer: index,
            rope: placed.rope,
            scale: config.attention_scale,
            window: placed.window.map(|window| window as usize),
            soft_cap: config.attention_soft_cap,
        };
        self.linear(&layer.qkv, &room.normed, &mut room.qkv)?;
        if let Some(norms) = &layer.head_norms {
            let norm = |weight| Norm { weight, epsilon: config.norm_epsilon };
            backend.norm_heads(config.heads, norm(&norms.query), norm(&norms.key), &mut room.qkv)?;
        }
        backend.rotate_and_store(step, &mut room.qkv, cache, &attention)?;
        backend.attend(step, &room.qkv, cache, &attention, &mut room.attended)?;
        self.linear(&layer.output, &room.attended, &mut room.added)
    }

    /// From `room.normed` to `room.added`.
    fn feed(&self, room: &mut Room<B>) -> Result<(), Error> {
        let Pass { backend, config, layer } = self;
        match &layer.feed {
            Feed::Dense { gate_up, down } => {
                let gate = match config.gate {
                    Gate::Silu => engine_backend::Gate::Silu,
                    Gate::GeluTanh => engine_backend::Gate::Gelu,
                };
                let Linear { weight, bias } = gate_up;
                backend.linear_gate(gate, &room.normed, weight, bias.as_ref(), &mut room.gated)?;
                self.linear(down, &room.gated, &mut room.added)
            }
            Feed::Experts { router, gate_up, down } => {
                let routing = config.experts.as_ref().expect("a layer has experts if its config has").routing;
                backend.linear(&room.normed, router, None, &mut room.routed)?;
                let experts = Experts { gate_up, down };
                backend.experts(experts, routing, &room.normed, &room.routed, &mut room.added)
            }
        }
    }

    /// Norms what a block is about to add to the stream.
    fn norm_added(&self, weight: Option<&B::Vector>, room: &mut Room<B>) -> Result<(), Error> {
        let Some(weight) = weight else {
            return Ok(());
        };
        let norm = Norm { weight, epsilon: self.config.norm_epsilon };
        self.backend.rms_norm(norm, &room.added, &mut room.added_normed)?;
        std::mem::swap(&mut room.added, &mut room.added_normed);
        Ok(())
    }

    fn linear(&self, linear: &Linear<B::Matrix, B::Vector>, x: &B::Tensor, out: &mut B::Tensor) -> Result<(), Error> {
        self.backend.linear(x, &linear.weight, linear.bias.as_ref(), out)
    }
}

impl<B: Backend> Room<B> {
    fn new(backend: &B, config: &ModelConfig, options: &LoadOptions) -> Result<Room<B>, Error> {
        let ModelConfig { vocab, hidden, intermediate, heads, .. } = *config;
        let (step, picked) = (options.step_tokens_max as usize, options.step_logits_max as usize);
        let wide = |columns| backend.tensor(Shape { rows: step, columns });
        let short = |columns| backend.tensor(Shape { rows: picked, columns });
        let unused = || backend.tensor(Shape { rows: 1, columns: 1 });
        Ok(Room {
            sum: wide(hidden)?,
            normed: wide(hidden)?,
            qkv: wide(heads.qkv_columns())?,
            attended: wide(heads.query_columns())?,
            added: wide(hidden)?,
            added_normed: if config.norms == Norms::BeforeAndAfter { wide(hidden)? } else { unused()? },
            gated: wide(intermediate)?,
            routed: config.experts.as_ref().map_or_else(unused, |experts| wide(experts.count))?,
            sum_picked: short(hidden)?,
            added_picked: short(hidden)?,
            logits: short(vocab)?,
        })
    }
}
