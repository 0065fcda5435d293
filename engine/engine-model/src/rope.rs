//! The rotary frequencies that a config asks for.

use std::f64::consts::TAU;

use engine_backend::Rope;

use crate::{RopeConfig, RopeScaling};

/// One frequency per pair, in radians per position, for contexts of at most so many tokens.
pub(crate) fn rope(config: &RopeConfig, context_tokens_max: u32) -> Rope {
    let RopeConfig { theta, columns, scaling } = config;
    let frequency = |pair: usize| {
        let plain = theta.powf(-2.0 * pair as f64 / *columns as f64);
        stretch(plain, pair, config, context_tokens_max) as f32
    };
    let magnitude = match scaling {
        RopeScaling::Yarn { magnitude, .. } | RopeScaling::LongRope { magnitude, .. } => *magnitude,
        _ => 1.0,
    };
    Rope { frequencies: (0..columns / 2).map(frequency).collect(), magnitude: magnitude as f32 }
}

fn stretch(plain: f64, pair: usize, config: &RopeConfig, context_tokens_max: u32) -> f64 {
    match &config.scaling {
        RopeScaling::None => plain,
        RopeScaling::Linear { factor } => plain / factor,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context_tokens } => {
            // Turns within the first training's context: few are slow, many are fast.
            let turns = f64::from(*original_context_tokens) * plain / TAU;
            let blend = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
            let fast = blend.clamp(0.0, 1.0);
            plain * (fast + (1.0 - fast) / factor)
        }
        RopeScaling::Yarn { factor, .. } => {
            let fast = 1.0 - yarn_slow(pair, config);
            plain * (fast + (1.0 - fast) / factor)
        }
        RopeScaling::LongRope { short, long, original_context_tokens, .. } => {
            // For all positions alike: a key in the cache must not change as its sequence grows.
            let divisors = if context_tokens_max > *original_context_tokens { long } else { short };
            plain / divisors[pair]
        }
        RopeScaling::Divisors(divisors) => plain / divisors[pair],
    }
}

/// How far a pair is among the slow ones, from 0 to 1.
fn yarn_slow(pair: usize, config: &RopeConfig) -> f64 {
    let RopeScaling::Yarn { beta_fast, beta_slow, original_context_tokens, truncate, .. } = &config.scaling else {
        return 0.0;
    };
    let columns = config.columns as f64;
    // The pair that turns so often within the first training's context.
    let pair_of =
        |turns: f64| columns * (f64::from(*original_context_tokens) / (turns * TAU)).ln() / (2.0 * config.theta.ln());
    let (mut low, mut high) = (pair_of(*beta_fast), pair_of(*beta_slow));
    if *truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(columns - 1.0));
    if low == high {
        high += 0.001;
    }
    ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0)
}
