//! Mistral: Llama with a window on every layer. GGUF files call it llama.

use super::Family;

pub(super) const FAMILY: Family =
    Family { name: "MistralForCausalLM", model_type: "mistral", gguf: "llama", describe: |_, _| Ok(()) };
