//! What a request would cost on each replica, and which one is taken.

use headworks_policy::{Fleet, Prefix, least};

use crate::config::Config;

/// What of a request counts.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Estimated.
    pub tokens: u32,
    /// Of its text.
    pub bytes: u32,
    /// Who has seen how much of it.
    pub prefix: Prefix,
}

/// The chosen replica.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// Its id.
    pub id: u32,
    cost: Cost,
    total: f64,
    /// Of the cheapest, where chance took another.
    total_least: f64,
}

/// In KV blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    prefill_blocks: f64,
    decode_blocks: f64,
}

/// Chooses, or says none when no replica takes work. `below(n)` draws evenly from 0 to n - 1, `draw()` from all of a
/// `u32`; one of them at most is asked.
pub fn pick(
    fleet: &Fleet,
    prompt: &Prompt,
    config: &Config,
    below: impl FnOnce(u32) -> u32,
    draw: impl FnOnce() -> u32,
) -> Option<Pick> {
    let takers = || fleet.rows().filter(|row| fleet.takes_work(*row));
    let total = |row: usize| Cost::of(fleet, prompt, config, row).total(config);
    let total_least = takers().map(total).reduce(f64::min)?;
    let row = match config.temperature > 0.0 {
        true => drawn(takers(), total, total_least, config.temperature, draw)?,
        false => least(takers(), total, below)?,
    };
    Some(Pick { id: fleet.id()[row], cost: Cost::of(fleet, prompt, config, row), total: total(row), total_least })
}

/// One of the rows, each with the weight e^-(x / temperature), where x is its cost on a scale from 0 for the cheapest to 1
/// for the dearest.
fn drawn(
    rows: impl Iterator<Item = usize> + Clone,
    total: impl Fn(usize) -> f64,
    total_least: f64,
    temperature: f64,
    draw: impl FnOnce() -> u32,
) -> Option<usize> {
    let range = rows.clone().map(&total).fold(total_least, f64::max) - total_least;
    let weight = |row: usize| match range > 0.0 {
        true => (-(total(row) - total_least) / range / temperature).exp(),
        false => 1.0,
    };
    let weights: f64 = rows.clone().map(weight).sum();
    let mut left = f64::from(draw()) / (f64::from(u32::MAX) + 1.0) * weights;
    let mut last = None;
    for row in rows {
        last = Some(row);
        left -= weight(row);
        if left < 0.0 {
            break;
        }
    }
    last
}

impl Cost {
    fn of(fleet: &Fleet, prompt: &Prompt, config: &Config, row: usize) -> Cost {
        let blocks = |tokens: u64| tokens as f64 / f64::from(config.block_tokens);
        let uncached = u64::from(prompt.prefix.uncached_tokens(row, prompt.tokens, prompt.bytes));
        let decode_blocks = match fleet.kv_blocks_total()[row] {
            // It does not say: as if each of its requests were as long as this one.
            0 => {
                let requests = u64::from(fleet.running()[row]) + u64::from(fleet.waiting()[row]);
                requests as f64 * blocks(u64::from(prompt.tokens.max(1))).ceil()
            }
            _ => f64::from(fleet.kv_blocks_used()[row]),
        };
        Cost { prefill_blocks: blocks(uncached + u64::from(fleet.prefill_tokens()[row])), decode_blocks }
    }

    fn total(self, config: &Config) -> f64 {
        config.overlap_weight * self.prefill_blocks + self.decode_blocks
    }
}

impl Pick {
    /// `least cost 42.0 on 3: 10.0 blocks to prefill, 32 at decode`; where chance took another: `cost 50.0 on 3, drawn
    /// (least 42.0): …`.
    pub fn why(&self) -> String {
        let Pick { id, cost: Cost { prefill_blocks, decode_blocks }, total, total_least } = self;
        let blocks = format!("{prefill_blocks:.1} blocks to prefill, {decode_blocks} at decode");
        match total > total_least {
            true => format!("cost {total:.1} on {id}, drawn (least {total_least:.1}): {blocks}"),
            false => format!("least cost {total:.1} on {id}: {blocks}"),
        }
    }
}

#[cfg(test)]
mod tests;
