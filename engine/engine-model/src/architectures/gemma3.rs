//! Gemma 3 (text): Gemma 2 with norms on heads, and five layers with a window and a rope of their own to each without.

use super::Family;
use crate::config::{Fields, slide};
use crate::{LoadError, RopeConfig, RopeScaling};

pub(super) const FAMILY: Family = Family {
    name: "Gemma3ForCausalLM",
    model_type: "gemma3_text",
    gguf: "gemma3",
    describe: |fields, config| {
        super::gemma2::common(fields, config)?;
        config.head_norms = true;
        let every = fields.optional_count("sliding_window_pattern")?.unwrap_or(6);
        slide(fields, config, |layer| !(layer + 1).is_multiple_of(every))?;
        let local = RopeConfig { theta: local_theta(fields)?, scaling: RopeScaling::None, ..config.ropes[0].clone() };
        config.ropes.push(local);
        for layer in config.layers.iter_mut().filter(|layer| layer.window.is_some()) {
            layer.rope = 1;
        }
        Ok(())
    },
};

fn local_theta(fields: &Fields) -> Result<f64, LoadError> {
    if let Some(ropes) = fields.object("rope_parameters")?
        && let Some(local) = ropes.object("sliding_attention")?
    {
        return local.positive("rope_theta");
    }
    Ok(fields.optional_positive("rope_local_base_freq")?.unwrap_or(10_000.0))
}
