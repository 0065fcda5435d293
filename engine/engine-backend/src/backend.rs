//! The operations themselves: what a device must be able to do to run a decoder of the Llama kind.

use crate::{Error, ForwardBatch, Source};

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Tokens of an activation, outputs of a weight.
    pub rows: usize,
    /// Features of an activation, inputs of a weight.
    pub columns: usize,
}

impl Shape {
    /// How many numbers there are.
    pub const fn len(self) -> usize {
        self.rows * self.columns
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// How a query-key-value row is cut into heads: all queries, then all keys, then all values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub query: usize,
    /// Key (and value) heads; divides `query`.
    pub kv: usize,
    /// Numbers in one head; even.
    pub dim: usize,
}

impl Heads {
    /// Numbers in a row of queries.
    pub const fn query_columns(self) -> usize {
        self.query * self.dim
    }

    /// Numbers in a row of keys, or of values.
    pub const fn kv_columns(self) -> usize {
        self.kv * self.dim
    }

    /// Numbers in a row of queries, keys and values.
    pub const fn qkv_columns(self) -> usize {
        (self.query + 2 * self.kv) * self.dim
    }
}

/// The size of a paged KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Layers that attend.
    pub layers: usize,
    /// Blocks, shared by all sequences.
    pub blocks: usize,
    /// Tokens one block holds.
    pub block_tokens: usize,
    /// How a row is cut into heads.
    pub heads: Heads,
}

/// Rotary position embedding: pair `i` of a head turns by `position * frequencies[i]`.
///
/// With `n` frequencies, pairs are (i, i + n) of a head's first 2 n numbers, as in Hugging Face's checkpoints; what
/// is left of the head does not turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// At most one for each pair of a head, in radians per position.
    pub frequencies: Vec<f32>,
    /// What turns is also multiplied by this: one, but for ropes stretched by YaRN and its like.
    pub magnitude: f32,
}

/// How one layer attends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Its place in the KV cache.
    pub layer: usize,
    /// Which of the step's ropes turns its queries and keys.
    pub rope: usize,
    /// Scores are multiplied by this: 1/√dim, for most.
    pub scale: f32,
    /// A token sees itself and the tokens before it, so many in all. None: all of them.
    pub window: Option<usize>,
    /// Scaled scores become `cap * tanh(score / cap)`.
    pub soft_cap: Option<f32>,
}

impl Attention {
    /// A layer that sees all that came before, as most do.
    pub fn plain(layer: usize, heads: Heads) -> Attention {
        Attention { layer, rope: 0, scale: 1.0 / (heads.dim as f32).sqrt(), window: None, soft_cap: None }
    }
}

/// What a feed-forward layer's gate is put through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// x / (1 + e^-x).
    Silu,
    /// By tanh.
    Gelu,
}

/// Which experts a token goes to, and how their outputs are weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    /// The most probable ones, so many.
    pub experts_per_token: usize,
    /// What their weights are.
    pub weights: RoutingWeights,
}

/// What a token's experts are weighed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutingWeights {
    /// Their probabilities among all experts.
    AmongAll,
    /// The same, scaled so that those of the chosen ones add up to one.
    AmongChosen,
}

/// Feed-forward layers of which each token uses a few.
#[derive(Clone, Copy, Debug)]
pub struct Experts<'a, M> {
    /// For each expert its gate, then up.
    pub gate_up: &'a [M],
    /// For each expert.
    pub down: &'a [M],
}

/// A root-mean-square norm's parameters.
#[derive(Debug)]
pub struct Norm<'a, V> {
    /// One factor per column.
    pub weight: &'a V,
    /// Added to the mean square.
    pub epsilon: f32,
}

/// A device that runs decoders of the Llama kind.
///
/// Activations are tensors of f32 with one row per token. An output tensor takes as many rows as its input has and
/// must have been created with room for them. Operations are ordered: each sees what those before it wrote.
pub trait Backend: Send {
    /// A weight matrix, laid out as the device likes.
    type Matrix: Send;
    /// A bias, or a norm's factors.
    type Vector: Send;
    /// An activation.
    type Tensor: Send;
    /// Keys and values of all layers in numbered blocks.
    type KvCache: Send;
    /// A batch prepared for the device, shared by all layers of one forward pass.
    type Step: Send;

    /// What logs call it: the device and the instructions it uses.
    fn name(&self) -> String;

    /// Stores a weight matrix.
    fn matrix(&self, source: &Source<'_>) -> Result<Self::Matrix, Error>;

    /// Stores a vector (a source with one column per number and one row).
    fn vector(&self, source: &Source<'_>) -> Result<Self::Vector, Error>;

    /// Makes room for an activation of at most `room.rows` rows.
    fn tensor(&self, room: Shape) -> Result<Self::Tensor, Error>;

    /// Makes an empty KV cache.
    fn kv_cache(&self, shape: KvShape) -> Result<Self::KvCache, Error>;

    /// Checks a batch against the cache and prepares what every layer needs of it.
    fn step(&self, batch: &ForwardBatch, ropes: &[Rope], cache: &Self::KvCache) -> Result<Self::Step, Error>;

    /// Looks up each token's row.
    fn embed(&self, step: &Self::Step, table: &Self::Matrix, out: &mut Self::Tensor) -> Result<(), Error>;

    /// `out = norm(x)`.
    fn rms_norm(&self, norm: Norm<'_, Self::Vector>, x: &Self::Tensor, out: &mut Self::Tensor) -> Result<(), Error>;

    /// `sum += x; out = norm(sum)`.
    fn add_rms_norm(
        &self,
        norm: Norm<'_, Self::Vector>,
        sum: &mut Self::Tensor,
        x: &Self::Tensor,
        out: &mut Self::Tensor,
    ) -> Result<(), Error>;

    /// `out = x · weightᵀ + bias`.
    fn linear(
        &self,
        x: &Self::Tensor,
        weight: &Self::Matrix,
        bias: Option<&Self::Vector>,
        out: &mut Self::Tensor,
    ) -> Result<(), Error>;

    /// `sum += x · weightᵀ + bias`.
    fn linear_add(
        &self,
        x: &Self::Tensor,
        weight: &Self::Matrix,
        bias: Option<&Self::Vector>,
        sum: &mut Self::Tensor,
    ) -> Result<(), Error>;

    /// `out = gate(left half of y) * right half of y`, where `y = x · weightᵀ + bias`.
    fn linear_gate(
        &self,
        gate: Gate,
        x: &Self::Tensor,
        weight: &Self::Matrix,
        bias: Option<&Self::Vector>,
        out: &mut Self::Tensor,
    ) -> Result<(), Error>;

    /// Norms each query head and each key head of `qkv` by itself.
    fn norm_heads(
        &self,
        heads: Heads,
        query: Norm<'_, Self::Vector>,
        key: Norm<'_, Self::Vector>,
        qkv: &mut Self::Tensor,
    ) -> Result<(), Error>;

    /// Turns queries and keys of `qkv` by their positions and stores keys and values in the layer's cache.
    fn rotate_and_store(
        &self,
        step: &Self::Step,
        qkv: &mut Self::Tensor,
        cache: &mut Self::KvCache,
        attention: &Attention,
    ) -> Result<(), Error>;

    /// Causal attention of `qkv`'s queries over the cached keys and values of their own sequences.
    fn attend(
        &self,
        step: &Self::Step,
        qkv: &Self::Tensor,
        cache: &Self::KvCache,
        attention: &Attention,
        out: &mut Self::Tensor,
    ) -> Result<(), Error>;

    /// `out = silu(left half of x) * right half of x`.
    fn silu_mul(&self, x: &Self::Tensor, out: &mut Self::Tensor) -> Result<(), Error>;

    /// `out = gelu(left half of x) * right half of x`, with the approximation by tanh.
    fn gelu_mul(&self, x: &Self::Tensor, out: &mut Self::Tensor) -> Result<(), Error>;

    /// `out` = for each row of x, the weighed sum of what its experts (gate, up, SiLU, down) make of it.
    ///
    /// `logits` has a column for each expert.
    fn experts(
        &self,
        experts: Experts<'_, Self::Matrix>,
        routing: Routing,
        x: &Self::Tensor,
        logits: &Self::Tensor,
        out: &mut Self::Tensor,
    ) -> Result<(), Error>;

    /// `x = factor * x`.
    fn scale(&self, factor: f32, x: &mut Self::Tensor) -> Result<(), Error>;

    /// `x = cap * tanh(x / cap)`.
    fn soft_cap(&self, cap: f32, x: &mut Self::Tensor) -> Result<(), Error>;

    /// Copies the rows whose logits are wanted, in the batch's order.
    fn pick_rows(&self, step: &Self::Step, x: &Self::Tensor, out: &mut Self::Tensor) -> Result<(), Error>;

    /// Waits for everything ordered so far and copies a tensor out, row by row.
    fn read(&self, x: &Self::Tensor, out: &mut Vec<f32>) -> Result<(), Error>;
}
