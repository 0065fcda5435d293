//! Chooses a sequence's next token from its logits.

use std::cmp::Ordering;

use openai_api::Sampling;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One request's way of choosing, with its own chance: batch mates do not disturb it.
pub(crate) struct Sampler {
    sampling: Sampling,
    chance: ChaCha8Rng,
    /// How many alternatives to report; none: no log probabilities at all.
    logprobs: Option<u32>,
}

/// A chosen token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub token: u32,
    pub logprobs: Option<TopLogprobs>,
}

/// Log probabilities of the model's own distribution, before temperature and truncation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopLogprobs {
    pub chosen: f32,
    /// Likeliest first.
    pub top: Vec<(u32, f32)>,
}

impl Sampler {
    /// `seed` stands in where the request names none.
    pub fn new(sampling: Sampling, seed: u64, logprobs: Option<u32>) -> Sampler {
        let chance = ChaCha8Rng::seed_from_u64(sampling.seed.unwrap_or(seed));
        Sampler { sampling, chance, logprobs }
    }

    /// Goes on after so many tokens as if it had chosen them: each cost one draw.
    pub fn skip(&mut self, tokens: usize) {
        if self.sampling.temperature > 0.0 {
            for _ in 0..tokens {
                let _: f64 = self.chance.random();
            }
        }
    }

    /// The next token; none when no logit is a number.
    pub fn choose(&mut self, logits: &[f32]) -> Option<Choice> {
        let token = if self.sampling.temperature == 0.0 {
            likeliest(logits)?
        } else {
            likeliest(logits)?;
            self.draw(logits)
        };
        let logprobs = self.logprobs.map(|count| top_logprobs(logits, token, count as usize));
        Some(Choice { token, logprobs })
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let Sampling { temperature, top_p, top_k, seed: _ } = self.sampling;
        let mut candidates: Vec<(u32, f32)> =
            (0..).zip(logits.iter().copied()).filter(|(_, logit)| *logit > f32::NEG_INFINITY).collect();
        if let Some(k) = top_k.map(|k| k as usize).filter(|k| *k < candidates.len()) {
            candidates.select_nth_unstable_by(k - 1, likelier_first);
            candidates.truncate(k);
        }
        if top_p < 1.0 {
            candidates.sort_unstable_by(likelier_first);
        } else {
            // In the vocabulary's order, so that the same chance means the same token however they were selected.
            candidates.sort_unstable_by_key(|(token, _)| *token);
        }
        let weights = weights_of(&candidates, temperature);
        let kept = nucleus(&weights, top_p);
        let total: f64 = weights[..kept].iter().sum();
        let mut left = self.chance.random::<f64>() * total;
        let chosen = weights[..kept].iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        candidates[chosen.unwrap_or(kept - 1)].0
    }
}

/// The token with the largest logit, the first of equals.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (token, &logit) in (0..).zip(logits) {
        if logit > best.map_or(f32::NEG_INFINITY, |(_, logit)| logit) {
            best = Some((token, logit));
        }
    }
    best.map(|(token, _)| token)
}

fn likelier_first(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Unnormalised probabilities at a temperature, the largest being 1.
fn weights_of(candidates: &[(u32, f32)], temperature: f32) -> Vec<f64> {
    let max = candidates.iter().map(|(_, logit)| *logit).fold(f32::NEG_INFINITY, f32::max);
    candidates.iter().map(|(_, logit)| (f64::from(logit - max) / f64::from(temperature)).exp()).collect()
}

/// How many of the leading weights together reach the share `top_p`; at least one.
fn nucleus(weights: &[f64], top_p: f32) -> usize {
    if top_p >= 1.0 {
        return weights.len();
    }
    let wanted = f64::from(top_p) * weights.iter().sum::<f64>();
    let mut sum = 0.0;
    let short = weights.iter().take_while(|weight| {
        sum += **weight;
        sum < wanted
    });
    (short.count() + 1).min(weights.len())
}

fn top_logprobs(logits: &[f32], token: u32, count: usize) -> TopLogprobs {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max)).filter(|d| !d.is_nan()).map(f64::exp).sum();
    let log_total = f64::from(max) + sum.ln();
    let logprob = |logit: f32| (f64::from(logit) - log_total) as f32;
    let mut top: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).filter(|(_, logit)| !logit.is_nan()).collect();
    if count < top.len() && count > 0 {
        top.select_nth_unstable_by(count - 1, likelier_first);
    }
    top.truncate(count);
    top.sort_unstable_by(likelier_first);
    TopLogprobs {
        chosen: logprob(logits[token as usize]),
        top: top.into_iter().map(|(token, logit)| (token, logprob(logit))).collect(),
    }
}

#[cfg(test)]
mod tests;
