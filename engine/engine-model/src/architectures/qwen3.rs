//! Qwen 3: Llama with a norm on every query head and key head.

use super::Family;
use crate::config::{Fields, slide};
use crate::{LoadError, ModelConfig};

pub(super) const FAMILY: Family = Family {
    name: "Qwen3ForCausalLM",
    model_type: "qwen3",
    gguf: "qwen3",
    describe: |fields, config| {
        config.head_norms = true;
        windows(fields, config)
    },
};

/// Layers from `max_window_layers` on have the window, if `use_sliding_window` asks for one at all.
pub(super) fn windows(fields: &Fields, config: &mut ModelConfig) -> Result<(), LoadError> {
    if fields.flag("use_sliding_window")? != Some(true) {
        config.layers.iter_mut().for_each(|layer| layer.window = None);
        return Ok(());
    }
    let first = fields.optional_count("max_window_layers")?.unwrap_or(28);
    slide(fields, config, |layer| layer >= first)
}
