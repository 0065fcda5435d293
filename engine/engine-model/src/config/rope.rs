//! Reads how a model's heads are turned by their positions.

use engine_backend::Heads;

use super::Fields;
use crate::LoadError;

/// How rotary frequencies are stretched for contexts longer than the model was first trained on.
#[derive(Clone, Debug, PartialEq)]
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
    /// YaRN (arXiv:2309.00071): the same with other borders, and what turns is magnified.
    Yarn {
        /// Slow turns are slowed by it.
        factor: f64,
        /// Pairs that turn more often within the first context are fast.
        beta_fast: f64,
        /// Pairs that turn less often within the first context are slow.
        beta_slow: f64,
        /// The first training's context, in tokens.
        original_context_tokens: u32,
        /// What turns is multiplied by it.
        magnitude: f64,
        /// Whether the borders are rounded to whole pairs.
        truncate: bool,
    },
    /// LongRoPE (arXiv:2402.13753): a divisor for each pair, one list for short contexts and one for long ones.
    LongRope {
        /// Used if no context is longer than the first training's.
        short: Vec<f64>,
        /// Used for all positions otherwise.
        long: Vec<f64>,
        /// The first training's context, in tokens.
        original_context_tokens: u32,
        /// What turns is multiplied by it.
        magnitude: f64,
    },
    /// A divisor for each pair, as GGUF stores a stretch that was computed already.
    Divisors(Vec<f64>),
}

/// One rotary embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub theta: f64,
    /// Numbers of a head that turn, from its first; even.
    pub columns: usize,
    /// How frequencies are stretched.
    pub scaling: RopeScaling,
}

/// The rope of all layers, or of those that see everything.
///
/// Older files have `rope_theta` and `rope_scaling`; newer ones put both into `rope_parameters`.
pub(super) fn rope(fields: &Fields, heads: Heads) -> Result<RopeConfig, LoadError> {
    let parameters = match fields.object("rope_parameters")? {
        Some(parameters) => match parameters.object("full_attention")? {
            Some(full) => Some(full),
            None => Some(parameters),
        },
        None => fields.object("rope_scaling")?,
    };
    let theta = match &parameters {
        Some(parameters) if parameters.has("rope_theta") => parameters.positive("rope_theta")?,
        _ => fields.optional_positive("rope_theta")?.unwrap_or(10_000.0),
    };
    let columns = turned_columns(fields, parameters.as_ref(), heads)?;
    let scaling = match &parameters {
        Some(parameters) => scaling_of(fields, parameters, columns)?,
        None => RopeScaling::None,
    };
    Ok(RopeConfig { theta, columns, scaling })
}

fn turned_columns(fields: &Fields, parameters: Option<&Fields>, heads: Heads) -> Result<usize, LoadError> {
    let field = "partial_rotary_factor";
    let holder = parameters.filter(|parameters| parameters.has(field)).unwrap_or(fields);
    let share = holder.optional_positive(field)?.unwrap_or(1.0);
    let columns = (heads.dim as f64 * share) as usize;
    match share <= 1.0 && columns > 0 && columns.is_multiple_of(2) {
        true => Ok(columns),
        false => Err(holder.wrong(field, "at most 1, and leave an even number of a head's".to_owned())),
    }
}

/// The stretch that a `rope_scaling` or `rope_parameters` object asks for.
fn scaling_of(fields: &Fields, scaling: &Fields, columns: usize) -> Result<RopeScaling, LoadError> {
    let field = if scaling.has("rope_type") { "rope_type" } else { "type" };
    match scaling.text(field)?.as_deref() {
        // Dynamic scaling begins beyond max_position_embeddings, and there we stop.
        None | Some("default" | "dynamic") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: scaling.positive("factor")? }),
        Some("llama3") => llama3(scaling),
        Some("yarn") => yarn(fields, scaling),
        Some("longrope" | "su") => long_rope(fields, scaling, columns),
        Some(_) => {
            let expected = "\"default\", \"linear\", \"dynamic\", \"llama3\", \"yarn\" or \"longrope\"";
            Err(scaling.wrong(field, expected.to_owned()))
        }
    }
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

fn yarn(fields: &Fields, scaling: &Fields) -> Result<RopeScaling, LoadError> {
    let factor = scaling.positive("factor")?;
    let original_context_tokens = original_context(fields, scaling)?;
    let grown = |by: f64| if factor > 1.0 { 0.1 * by * factor.ln() + 1.0 } else { 1.0 };
    let magnitude = match scaling.optional_positive("attention_factor")? {
        Some(magnitude) => magnitude,
        None => match (scaling.optional_positive("mscale")?, scaling.optional_positive("mscale_all_dim")?) {
            (Some(some), Some(all)) => grown(some) / grown(all),
            _ => grown(1.0),
        },
    };
    Ok(RopeScaling::Yarn {
        factor,
        beta_fast: scaling.optional_positive("beta_fast")?.unwrap_or(32.0),
        beta_slow: scaling.optional_positive("beta_slow")?.unwrap_or(1.0),
        original_context_tokens,
        magnitude,
        truncate: scaling.flag("truncate")?.unwrap_or(true),
    })
}

fn long_rope(fields: &Fields, scaling: &Fields, columns: usize) -> Result<RopeScaling, LoadError> {
    let divisors = |field: &str| match scaling.positives(field)? {
        divisors if divisors.len() == columns / 2 => Ok(divisors),
        _ => Err(scaling.wrong(field, format!("a list of {}", columns / 2))),
    };
    let original_context_tokens = original_context(fields, scaling)?;
    let longest = f64::from(fields.count_u32("max_position_embeddings")?);
    let original = f64::from(original_context_tokens);
    let factor = scaling.optional_positive("factor")?.unwrap_or(longest / original);
    let magnitude = match scaling.optional_positive("attention_factor")? {
        Some(magnitude) => magnitude,
        None if factor <= 1.0 => 1.0,
        None => (1.0 + factor.ln() / original.ln()).sqrt(),
    };
    Ok(RopeScaling::LongRope {
        short: divisors("short_factor")?,
        long: divisors("long_factor")?,
        original_context_tokens,
        magnitude,
    })
}

/// In the object, or beside it; or the context has not grown.
fn original_context(fields: &Fields, scaling: &Fields) -> Result<u32, LoadError> {
    let field = "original_max_position_embeddings";
    let holders = [(scaling, field), (fields, field), (fields, "max_position_embeddings")];
    let (holder, field) = holders.into_iter().find(|(holder, field)| holder.has(field)).unwrap_or((scaling, field));
    holder.count_u32(field)
}
