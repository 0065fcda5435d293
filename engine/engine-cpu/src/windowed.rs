//! Attention with a window, a soft cap or a scale of its own: plain loops, for layers that `attention` has no place for.

use engine_backend::Attention;

use crate::cache::Cache;
use crate::parallel;
use crate::tensor::{Place, Step};

/// Whether the ordinary kernel gives what this layer asks for. The same for every batch: a row's numbers must not
/// depend on its batch mates.
pub(crate) fn is_plain(cache: &Cache, attention: &Attention) -> bool {
    let longest = cache.shape.blocks * cache.shape.block_tokens;
    let ordinary = Attention::plain(attention.layer, cache.shape.heads);
    attention.soft_cap.is_none()
        && attention.scale == ordinary.scale
        && attention.window.is_none_or(|window| window >= longest)
}

/// `out` (rows of query heads) from `qkv` (rows of query, key and value heads, the keys and values stored already).
pub(crate) fn attend(step: &Step, qkv: &[f32], cache: &Cache, attention: &Attention, out: &mut [f32]) {
    let heads = cache.shape.heads;
    let group = heads.query / heads.kv;
    let positions: usize = step.places.iter().map(|place| place.position + 1).sum();
    parallel::rows(out, heads.query_columns(), 2 * positions * heads.query_columns(), |token, out| {
        let place = step.places[token];
        let queries = &qkv[token * heads.qkv_columns()..][..heads.query_columns()];
        let mut scores = Vec::new();
        for (head, (query, out)) in queries.chunks_exact(heads.dim).zip(out.chunks_exact_mut(heads.dim)).enumerate() {
            let seen = Seen { step, cache, attention, place, head: head / group };
            seen.score(query, &mut scores);
            softmax(&mut scores[seen.first()..=place.position]);
            seen.gather(&scores, out);
        }
    });
}

/// What one head of one token sees.
struct Seen<'a> {
    step: &'a Step,
    cache: &'a Cache,
    attention: &'a Attention,
    place: Place,
    /// Of keys and values.
    head: usize,
}

impl Seen<'_> {
    /// The first position in the window.
    fn first(&self) -> usize {
        self.attention.window.map_or(0, |window| (self.place.position + 1).saturating_sub(window))
    }

    /// The blocks that the window touches: each one's number, and the position of its first token.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> {
        let block_tokens = self.cache.shape.block_tokens;
        let table = self.step.table(&self.step.batch.sequences()[self.place.sequence]);
        let used = self.first() / block_tokens..=self.place.position / block_tokens;
        used.map(move |index| (table[index] as usize, index * block_tokens))
    }

    /// Scores by position; those outside the window are of no meaning.
    fn score(&self, query: &[f32], scores: &mut Vec<f32>) {
        let (padded, block_tokens) = (self.cache.tokens_padded(), self.cache.shape.block_tokens);
        scores.clear();
        scores.resize(self.place.position + 1, 0.0);
        let mut block_scores = vec![0.0; padded];
        for (block, start) in self.blocks() {
            block_scores.fill(0.0);
            let keys = self.cache.keys(self.attention.layer, block, self.head);
            for (factor, keys) in query.iter().zip(keys.chunks_exact(padded)) {
                block_scores.iter_mut().zip(keys).for_each(|(score, key)| *score += factor * key);
            }
            let end = (start + block_tokens).min(scores.len());
            for (to, score) in scores[start..end].iter_mut().zip(&block_scores) {
                let scaled = score * self.attention.scale;
                *to = self.attention.soft_cap.map_or(scaled, |cap| cap * (scaled / cap).tanh());
            }
        }
    }

    /// The values in the window, each by its share.
    fn gather(&self, shares: &[f32], out: &mut [f32]) {
        let padded = self.cache.dim_padded();
        out.fill(0.0);
        for (block, start) in self.blocks() {
            let values = self.cache.values(self.attention.layer, block, self.head);
            for (position, values) in (start..).zip(values.chunks_exact(padded)) {
                if position >= self.first() && position < shares.len() {
                    out.iter_mut().zip(values).for_each(|(out, value)| *out += shares[position] * value);
                }
            }
        }
    }
}

fn softmax(scores: &mut [f32]) {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0f64;
    for score in scores.iter_mut() {
        *score = (*score - highest).exp();
        sum += f64::from(*score);
    }
    let share = (1.0 / sum) as f32;
    scores.iter_mut().for_each(|score| *score *= share);
}
