//! Phi 3 and 4: Llama with a window, whose projections are stored joined.

use super::Family;
use crate::Projections;

pub(super) const FAMILY: Family = Family {
    name: "Phi3ForCausalLM",
    model_type: "phi3",
    gguf: "phi3",
    describe: |_, config| {
        config.projections = Projections::Joined;
        Ok(())
    },
};
