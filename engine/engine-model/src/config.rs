//! Reads config.json into a checked [`ModelConfig`]; whatever is wrong is named by file and field.

mod fields;

use std::path::Path;

use engine_backend::Heads;

use crate::LoadError;
use fields::Fields;

/// Which family of layers a checkpoint holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `LlamaForCausalLM`.
    Llama,
    /// `Qwen2ForCausalLM`: Llama with biases on query, key and value.
    Qwen2,
}

impl Architecture {
    const ALL: [Architecture; 2] = [Architecture::Llama, Architecture::Qwen2];

    /// As config.json spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "LlamaForCausalLM",
            Architecture::Qwen2 => "Qwen2ForCausalLM",
        }
    }
}

/// How rotary frequencies are stretched for contexts longer than the model was first trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All by one factor.
    Linear {
        /// Positions are divided by it.
        factor: f64,
    },
    /// Llama 3.1: slow turns by the factor, fast turns not, those between by a blend.
    Llama3 {
        /// Slow turns are slowed by it.
        factor: f64,
        /// Wavelengths above `context / this` are slow.
        low_freq_factor: f64,
        /// Wavelengths below `context / this` are fast.
        high_freq_factor: f64,
        /// The first training's context, in tokens.
        original_context_tokens: u32,
    },
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
    /// How many layers.
    pub layers: usize,
    /// How attention is cut into heads.
    pub heads: Heads,
    /// Added to the mean square in norms.
    pub norm_epsilon: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How they are stretched.
    pub rope_scaling: RopeScaling,
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
        let fields = Fields::read(path)?;
        let architecture = architecture(&fields)?;
        let heads = heads(&fields)?;
        refuse_what_changes_the_numbers(&fields, architecture)?;
        let attention_bias = fields.flag("attention_bias")?.unwrap_or(false);
        let (qkv_bias, output_bias) = match architecture {
            Architecture::Llama => (attention_bias, attention_bias),
            Architecture::Qwen2 => (true, false),
        };
        let (rope_theta, rope_scaling) = rope(&fields)?;
        Ok(ModelConfig {
            architecture,
            vocab: fields.count("vocab_size")?,
            hidden: fields.count("hidden_size")?,
            intermediate: fields.count("intermediate_size")?,
            layers: fields.count("num_hidden_layers")?,
            heads,
            norm_epsilon: fields.positive("rms_norm_eps")? as f32,
            rope_theta,
            rope_scaling,
            context_tokens_max: fields.count_u32("max_position_embeddings")?,
            tied_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
            qkv_bias,
            output_bias,
            mlp_bias: fields.flag("mlp_bias")?.unwrap_or(false),
            bos_token_id: fields.token_ids("bos_token_id")?.first().copied(),
            eos_token_ids: fields.token_ids("eos_token_id")?,
        })
    }
}

fn architecture(fields: &Fields) -> Result<Architecture, LoadError> {
    let found = fields.first_text("architectures")?;
    Architecture::ALL.into_iter().find(|known| known.name() == found).ok_or_else(|| {
        LoadError::ArchitectureUnsupported {
            path: fields.path().to_owned(),
            found,
            supported: Architecture::ALL.map(Architecture::name).to_vec(),
        }
    })
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

/// A setting we would silently ignore must stop the load: it would change what the model says.
fn refuse_what_changes_the_numbers(fields: &Fields, architecture: Architecture) -> Result<(), LoadError> {
    if fields.text("hidden_act")?.is_some_and(|act| act != "silu") {
        return Err(fields.wrong("hidden_act", "\"silu\"".to_owned()));
    }
    if fields.has("quantization_config") {
        return Err(fields.wrong("quantization_config", "absent: quantised weights are not read".to_owned()));
    }
    if fields.has("partial_rotary_factor") && fields.positive("partial_rotary_factor")? != 1.0 {
        return Err(fields.wrong("partial_rotary_factor", "1 or absent".to_owned()));
    }
    if architecture == Architecture::Qwen2 && fields.flag("use_sliding_window")? == Some(true) {
        return Err(fields.wrong("use_sliding_window", "false".to_owned()));
    }
    Ok(())
}

/// Older files have `rope_theta` and `rope_scaling`; newer ones put both into `rope_parameters`.
fn rope(fields: &Fields) -> Result<(f64, RopeScaling), LoadError> {
    let scaling = match fields.object("rope_parameters")? {
        Some(parameters) => Some(parameters),
        None => fields.object("rope_scaling")?,
    };
    let theta = match &scaling {
        Some(parameters) if parameters.has("rope_theta") => parameters.positive("rope_theta")?,
        _ if fields.has("rope_theta") => fields.positive("rope_theta")?,
        _ => 10_000.0,
    };
    let Some(scaling) = scaling else {
        return Ok((theta, RopeScaling::None));
    };
    let field = if scaling.has("rope_type") { "rope_type" } else { "type" };
    let scaling = match scaling.text(field)?.as_deref() {
        None | Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear { factor: scaling.positive("factor")? },
        Some("llama3") => llama3(&scaling)?,
        Some(_) => {
            return Err(scaling.wrong(field, "\"default\", \"linear\" or \"llama3\"".to_owned()));
        }
    };
    Ok((theta, scaling))
}

fn llama3(scaling: &Fields) -> Result<RopeScaling, LoadError> {
    let factor = scaling.positive("factor")?;
    let low_freq_factor = scaling.positive("low_freq_factor")?;
    let high_freq_factor = scaling.positive("high_freq_factor")?;
    if high_freq_factor <= low_freq_factor {
        let expected = format!("above low_freq_factor ({low_freq_factor})");
        return Err(scaling.wrong("high_freq_factor", expected));
    }
    let original_context_tokens = scaling.count_u32("original_max_position_embeddings")?;
    Ok(RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context_tokens })
}
