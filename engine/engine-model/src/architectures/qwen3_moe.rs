//! Qwen 3 with experts: Qwen 3 whose feed-forwards are mixtures, but for some layers.

use engine_backend::{Routing, RoutingWeights};

use super::Family;
use crate::ExpertsConfig;

pub(super) const FAMILY: Family = Family {
    name: "Qwen3MoeForCausalLM",
    model_type: "qwen3_moe",
    gguf: "qwen3moe",
    describe: |fields, config| {
        config.head_norms = true;
        super::qwen3::windows(fields, config)?;
        let count = fields.count("num_experts")?;
        let experts_per_token = fields.count("num_experts_per_tok")?;
        if experts_per_token > count {
            return Err(fields.wrong("num_experts_per_tok", format!("at most num_experts ({count})")));
        }
        let weights = match fields.flag("norm_topk_prob")?.unwrap_or(false) {
            true => RoutingWeights::AmongChosen,
            false => RoutingWeights::AmongAll,
        };
        let every = fields.optional_count("decoder_sparse_step")?.unwrap_or(1);
        let named = fields.indices("mlp_only_layers")?;
        let dense =
            (0..config.layers.len()).filter(|layer| named.contains(layer) || !(layer + 1).is_multiple_of(every));
        config.experts = Some(ExpertsConfig {
            count,
            intermediate: fields.count("moe_intermediate_size")?,
            routing: Routing { experts_per_token, weights },
            dense_layers: dense.collect(),
        });
        Ok(())
    },
};
