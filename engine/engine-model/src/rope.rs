//! The rotary frequencies that a config asks for.

use std::f64::consts::TAU;

use engine_backend::Rope;

use crate::{ModelConfig, RopeScaling};

/// One frequency per pair of a head, in radians per position.
pub(crate) fn rope(config: &ModelConfig) -> Rope {
    let dim = config.heads.dim;
    let frequency = |pair: usize| {
        let plain = config.rope_theta.powf(-2.0 * pair as f64 / dim as f64);
        stretch(plain, config.rope_scaling) as f32
    };
    Rope { frequencies: (0..dim / 2).map(frequency).collect(), magnitude: 1.0 }
}

fn stretch(plain: f64, scaling: RopeScaling) -> f64 {
    match scaling {
        RopeScaling::None => plain,
        RopeScaling::Linear { factor } => plain / factor,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context_tokens } => {
            // Turns within the first training's context: few are slow, many are fast.
            let turns = f64::from(original_context_tokens) * plain / TAU;
            let blend = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
            let fast = blend.clamp(0.0, 1.0);
            plain * (fast + (1.0 - fast) / factor)
        }
    }
}
