//! Qwen 2 and 2.5: Llama with biases on query, key and value, and a window on the upper layers if it is asked for.

use super::Family;

pub(super) const FAMILY: Family = Family {
    name: "Qwen2ForCausalLM",
    model_type: "qwen2",
    gguf: "qwen2",
    describe: |fields, config| {
        (config.qkv_bias, config.output_bias) = (true, false);
        super::qwen3::windows(fields, config)
    },
};
