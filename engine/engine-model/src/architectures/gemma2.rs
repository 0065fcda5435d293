//! Gemma 2: norms on both sides, soft caps, GELU, scaled embeddings, and a window on every other layer.

use super::Family;
use crate::config::{Fields, slide};
use crate::{Gate, LoadError, ModelConfig, Norms};

pub(super) const FAMILY: Family = Family {
    name: "Gemma2ForCausalLM",
    model_type: "gemma2",
    gguf: "gemma2",
    describe: |fields, config| {
        common(fields, config)?;
        slide(fields, config, |layer| layer % 2 == 0)
    },
};

/// What Gemma 2 and 3 share.
pub(super) fn common(fields: &Fields, config: &mut ModelConfig) -> Result<(), LoadError> {
    config.norm_offset = 1.0;
    config.norms = Norms::BeforeAndAfter;
    config.gate = Gate::GeluTanh;
    config.embedding_scale = Some((config.hidden as f32).sqrt());
    config.tied_embeddings = fields.flag("tie_word_embeddings")?.unwrap_or(true);
    if let Some(scalar) = fields.optional_positive("query_pre_attn_scalar")? {
        config.attention_scale = scalar.powf(-0.5) as f32;
    }
    config.attention_soft_cap = fields.optional_positive("attn_logit_softcapping")?.map(|cap| cap as f32);
    config.logits_soft_cap = fields.optional_positive("final_logit_softcapping")?.map(|cap| cap as f32);
    Ok(())
}
