//! Llama 2 and 3: what all others are described by their difference from.

use super::Family;

pub(super) const FAMILY: Family = Family {
    name: "LlamaForCausalLM",
    model_type: "llama",
    gguf: "llama",
    describe: |_, config| {
        // Written by a tool now and then, and without effect on a Llama.
        config.layers.iter_mut().for_each(|layer| layer.window = None);
        Ok(())
    },
};
