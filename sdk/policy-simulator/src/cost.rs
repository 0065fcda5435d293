//! How long a replica's step takes, by what it computes.

use serde::Deserialize;

/// A step's time in microseconds: linear in its prompt tokens, its decodes and the context they look at.
///
/// The form is DistServe's (OSDI '24, appendix A) with prefill and decode in one batch. The default numbers are those of
/// Llama-3-8B on an A100: the linear operations of Vidur's profiles (8.04 ms + 0.0665 ms for each token of a step),
/// DistServe's 0.0385 ms for each sequence and 0.000627 ms for each token of context.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cost {
    /// Any step.
    pub step_us: f64,
    /// Each prompt token computed.
    pub prefill_token_us: f64,
    /// Each sequence that decodes.
    pub decode_us: f64,
    /// Each token of context of those that decode.
    pub context_token_us: f64,
}

/// What one step computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    pub prefill_tokens: u64,
    pub decodes: u64,
    pub context_tokens: u64,
}

impl Default for Cost {
    fn default() -> Cost {
        Cost { step_us: 8040.0, prefill_token_us: 66.5, decode_us: 38.5, context_token_us: 0.627 }
    }
}

impl Cost {
    /// The step's time, at least one microsecond: a step that takes none would never let time pass.
    pub(crate) fn of(&self, work: Work) -> u64 {
        let Cost { step_us, prefill_token_us, decode_us, context_token_us } = self;
        let time = step_us
            + prefill_token_us * work.prefill_tokens as f64
            + decode_us * work.decodes as f64
            + context_token_us * work.context_tokens as f64;
        (time.round() as u64).max(1)
    }

    pub(crate) fn is_sound(&self) -> bool {
        let Cost { step_us, prefill_token_us, decode_us, context_token_us } = *self;
        let sane = |us: f64| (0.0..1e9).contains(&us);
        step_us >= 1.0 && [step_us, prefill_token_us, decode_us, context_token_us].into_iter().all(sane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_what_its_parts_take() {
        let cost = Cost { step_us: 100.0, prefill_token_us: 2.0, decode_us: 10.0, context_token_us: 0.5 };
        assert_eq!(cost.of(Work::default()), 100);
        assert_eq!(cost.of(Work { prefill_tokens: 30, decodes: 2, context_tokens: 40 }), 100 + 60 + 20 + 20);
    }
}
