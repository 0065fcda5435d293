//! What a model is, checked: read from config.json, or from GGUF's metadata under config.json's names.

mod fields;
mod rope;

use std::path::Path;

use engine_backend::{Heads, Routing};

use crate::architectures::Architecture;
use crate::{LoadError, Quantisation};
pub(crate) use fields::Fields;
use rope::rope;
pub use rope::{RopeConfig, RopeScaling};

/// What sets a layer's attention apart from its neighbours'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerAttention {
    /// Which of [`ModelConfig::ropes`] turns its heads.
    pub rope: usize,
    /// How many tokens it sees, itself included; none: all.
    pub window: Option<u32>,
}

/// What the feed-forward's gate goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// x · sigmoid(x).
    Silu,
    /// x · Φ(x), approximated by tanh.
    GeluTanh,
}

/// Where a layer's norms are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norms {
    /// Before attention and before the feed-forward.
    Before,
    /// Before and after each.
    BeforeAndAfter,
}

/// How query, key and value, and gate and up, are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projections {
    /// Each as a tensor.
    Apart,
    /// Joined: `qkv_proj` and `gate_up_proj`.
    Joined,
}

/// A mixture of experts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpertsConfig {
    /// How many there are.
    pub count: usize,
    /// Width of each one's feed-forward.
    pub intermediate: usize,
    /// How they are chosen and weighed.
    pub routing: Routing,
    /// Layers that have an ordinary feed-forward instead.
    pub dense_layers: Vec<usize>,
}

/// A checked config.json.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Which layers.
    pub architecture: Architecture,
    /// Rows of the embedding: one more than the highest token id.
    pub vocab: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layers.
    pub intermediate: usize,
    /// For each layer, how it attends.
    pub layers: Vec<LayerAttention>,
    /// How attention is cut into heads.
    pub heads: Heads,
    /// Added to the mean square in norms.
    pub norm_epsilon: f32,
    /// Added to the factors of norms, which some models store less one.
    pub norm_offset: f32,
    /// Where norms are.
    pub norms: Norms,
    /// Whether each query head and key head is normed.
    pub head_norms: bool,
    /// The rotary embeddings that layers choose from.
    pub ropes: Vec<RopeConfig>,
    /// What attention's scores are multiplied by.
    pub attention_scale: f32,
    /// What attention's scores are kept under.
    pub attention_soft_cap: Option<f32>,
    /// What the gate goes through.
    pub gate: Gate,
    /// How projections are stored.
    pub projections: Projections,
    /// If feed-forwards are mixtures of experts.
    pub experts: Option<ExpertsConfig>,
    /// How linear layers' weights are stored, if not plainly.
    pub quantisation: Option<Quantisation>,
    /// What embeddings are multiplied by.
    pub embedding_scale: Option<f32>,
    /// What logits are kept under.
    pub logits_soft_cap: Option<f32>,
    /// Longest prompt plus output, in tokens.
    pub context_tokens_max: u32,
    /// Whether the head reuses the embedding.
    pub tied_embeddings: bool,
    /// Whether query, key and value have biases.
    pub qkv_bias: bool,
    /// Whether the attention's output has a bias.
    pub output_bias: bool,
    /// Whether the feed-forward layers have biases.
    pub mlp_bias: bool,
    /// The token that begins a text, if the model has one.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a text, as config.json says; generation_config.json may say more.
    pub eos_token_ids: Vec<u32>,
}

impl ModelConfig {
    /// Reads and checks a config.json.
    pub fn read(path: &Path) -> Result<ModelConfig, LoadError> {
        ModelConfig::of(&Fields::read(path)?)
    }

    pub(crate) fn of(fields: &Fields) -> Result<ModelConfig, LoadError> {
        let architecture = Architecture::of(fields)?;
        let heads = heads(fields)?;
        let attention_bias = fields.flag("attention_bias")?.unwrap_or(false);
        let window = window(fields)?;
        let layer = LayerAttention { rope: 0, window };
        let mut config = ModelConfig {
            architecture,
            vocab: fields.count("vocab_size")?,
            hidden: fields.count("hidden_size")?,
            intermediate: fields.count("intermediate_size")?,
            layers: vec![layer; layers(fields)?],
            heads,
            norm_epsilon: fields.positive("rms_norm_eps")? as f32,
            norm_offset: 0.0,
            norms: Norms::Before,
            head_norms: false,
            ropes: vec![rope(fields, heads)?],
            attention_scale: 1.0 / (heads.dim as f32).sqrt(),
            attention_soft_cap: None,
            gate: Gate::Silu,
            projections: Projections::Apart,
            experts: None,
            quantisation: Quantisation::of(fields)?,
            embedding_scale: None,
            logits_soft_cap: None,
            context_tokens_max: fields.count_u32("max_position_embeddings")?,
            tied_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
            qkv_bias: attention_bias,
            output_bias: attention_bias,
            mlp_bias: fields.flag("mlp_bias")?.unwrap_or(false),
            bos_token_id: fields.token_ids("bos_token_id")?.first().copied(),
            eos_token_ids: fields.token_ids("eos_token_id")?,
        };
        architecture.describe(fields, &mut config)?;
        let gate = if config.gate == Gate::Silu { "silu" } else { "gelu_pytorch_tanh" };
        check_gate(fields, gate)?;
        Ok(config)
    }
}

/// Layers beyond this would be a mistake in the file, and take memory before anything else is noticed.
const LAYERS_MAX: usize = 1024;

fn layers(fields: &Fields) -> Result<usize, LoadError> {
    let field = "num_hidden_layers";
    match fields.count(field)? {
        layers if layers <= LAYERS_MAX => Ok(layers),
        _ => Err(fields.wrong(field, format!("at most {LAYERS_MAX}"))),
    }
}

fn heads(fields: &Fields) -> Result<Heads, LoadError> {
    let query = fields.count("num_attention_heads")?;
    let kv = fields.optional_count("num_key_value_heads")?.unwrap_or(query);
    if !query.is_multiple_of(kv) {
        let expected = format!("a divisor of num_attention_heads ({query})");
        return Err(fields.wrong("num_key_value_heads", expected));
    }
    let hidden = fields.count("hidden_size")?;
    let dim = match fields.optional_count("head_dim")? {
        Some(dim) => dim,
        None if hidden.is_multiple_of(query) => hidden / query,
        None => {
            let expected = format!("a multiple of num_attention_heads ({query})");
            return Err(fields.wrong("hidden_size", expected));
        }
    };
    if !dim.is_multiple_of(2) {
        return Err(fields.wrong("head_dim", "even".to_owned()));
    }
    Ok(Heads { query, kv, dim })
}

/// The window of the layers that have one.
fn window(fields: &Fields) -> Result<Option<u32>, LoadError> {
    match fields.has("sliding_window") && fields.flag("use_sliding_window")? != Some(false) {
        true => fields.count_u32("sliding_window").map(Some),
        false => Ok(None),
    }
}

/// Leaves the window to the layers that `layer_types` calls sliding, or else to those that `slides` names.
pub(crate) fn slide(
    fields: &Fields,
    config: &mut ModelConfig,
    slides: impl Fn(usize) -> bool,
) -> Result<(), LoadError> {
    let types = fields.texts("layer_types")?;
    if types.as_ref().is_some_and(|types| types.len() != config.layers.len()) {
        return Err(fields.wrong("layer_types", format!("a list of {}", config.layers.len())));
    }
    for (index, layer) in config.layers.iter_mut().enumerate() {
        let sliding = match types.as_ref().map(|types| types[index].as_str()) {
            None => slides(index),
            Some("sliding_attention") => true,
            Some("full_attention") => false,
            Some(_) => {
                let expected = "a list of \"sliding_attention\" and \"full_attention\"";
                return Err(fields.wrong("layer_types", expected.to_owned()));
            }
        };
        if !sliding {
            layer.window = None;
        }
    }
    Ok(())
}

/// A setting we would silently ignore must stop the load: it would change what the model says.
fn check_gate(fields: &Fields, gate: &str) -> Result<(), LoadError> {
    for field in ["hidden_act", "hidden_activation"] {
        if fields.text(field)?.is_some_and(|act| act != gate) {
            return Err(fields.wrong(field, format!("\"{gate}\"")));
        }
    }
    Ok(())
}
