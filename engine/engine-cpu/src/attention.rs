//! Causal attention over paged keys and values, one token and one key head at a time.
//!
//! A token's result is computed by the same steps in the same order whether it comes in a prompt's chunk or alone.

use std::ops::Range;

use engine_backend::Heads;

use crate::cache::Cache;
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512};
use crate::lanes::{Lanes, Portable, WIDTH};
use crate::parallel::{Shared, split};
use crate::tensor::{Place, Step};

/// `out` (rows of query heads) from `qkv` (rows of query, key and value heads, the keys and values stored already).
pub(crate) fn attend(isa: Isa, step: &Step, qkv: &[f32], cache: &Cache, layer: usize, out: &mut [f32]) {
    let heads = cache.shape.heads;
    let tokens = step.places.len();
    assert_eq!(qkv.len(), tokens * heads.qkv_columns(), "one row per token");
    assert_eq!(out.len(), tokens * heads.query_columns(), "one row per token");
    let out = Shared::of(out);
    let call = Call { step, qkv, cache, layer, heads, out };
    let positions: usize = step.places.iter().map(|place| place.position + 1).sum();
    let work = 2 * positions * heads.query_columns();
    split(tokens * heads.kv, work, |range| {
        // SAFETY: each item writes its own heads of its own row; `Step` was checked against this cache.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512(&call, range),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(&call, range),
                _ => items::<Portable>(&call, range),
            }
        }
    });
}

struct Call<'a> {
    step: &'a Step,
    qkv: &'a [f32],
    cache: &'a Cache,
    layer: usize,
    heads: Heads,
    out: Shared,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn avx512(call: &Call<'_>, range: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { items::<Avx512>(call, range) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2(call: &Call<'_>, range: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { items::<Avx2>(call, range) }
}

/// An item is a token and a key head, with the query heads that share it.
#[inline(always)]
unsafe fn items<L: Lanes>(call: &Call<'_>, range: Range<usize>) {
    let Heads { query, kv, dim } = call.heads;
    let group = query / kv;
    let mut scores = Vec::new();
    let mut sums = vec![0.0; group * call.cache.dim_padded()];
    for item in range {
        let (token, head) = (item / kv, item % kv);
        let place = call.step.places[token];
        let stride = scores_stride(call, place);
        scores.clear();
        scores.resize(group * stride, 0.0);
        sums.fill(0.0);
        let queries = token * call.heads.qkv_columns() + head * group * dim;
        let queries = &call.qkv[queries..][..group * dim];
        // SAFETY: `scores` and `sums` have room for the group.
        unsafe {
            score::<L>(call, place, head, queries, &mut scores);
            for scores in scores.chunks_exact_mut(stride) {
                softmax(&mut scores[..=place.position], dim);
            }
            gather::<L>(call, place, head, &scores, &mut sums);
        }
        for (member, sums) in sums.chunks_exact(call.cache.dim_padded()).enumerate() {
            let to = token * call.heads.query_columns() + (head * group + member) * dim;
            // SAFETY: this item alone writes these heads.
            unsafe { std::ptr::copy_nonoverlapping(sums.as_ptr(), call.out.at(to), dim) };
        }
    }
}

/// Room for the scores of all tokens up to this one; the last block is stored in whole registers.
fn scores_stride(call: &Call<'_>, place: Place) -> usize {
    let block_tokens = call.cache.shape.block_tokens;
    (place.position / block_tokens) * block_tokens + call.cache.tokens_padded()
}

/// Every query head's products with every key up to the token's own.
#[inline(always)]
unsafe fn score<L: Lanes>(call: &Call<'_>, place: Place, head: usize, queries: &[f32], scores: &mut [f32]) {
    let stride = scores_stride(call, place);
    let dim = call.heads.dim;
    for (first, keys) in blocks(call, place, |block| call.cache.keys(call.layer, block, head)) {
        for tokens in (0..call.cache.tokens_padded()).step_by(WIDTH) {
            let mut member = 0;
            // SAFETY: `keys` has `dim` rows of `tokens_padded`; each member's scores have room for whole registers.
            unsafe {
                while queries.len() - member * dim >= 4 * dim {
                    let to = scores.as_mut_ptr().add(member * stride + first + tokens);
                    score_group::<L, 4>(call, &queries[member * dim..], &keys[tokens..], to, stride);
                    member += 4;
                }
                while queries.len() > member * dim {
                    let to = scores.as_mut_ptr().add(member * stride + first + tokens);
                    score_group::<L, 1>(call, &queries[member * dim..], &keys[tokens..], to, stride);
                    member += 1;
                }
            }
        }
    }
}

/// MEMBERS query heads against sixteen keys.
#[inline(always)]
unsafe fn score_group<L: Lanes, const MEMBERS: usize>(
    call: &Call<'_>,
    queries: &[f32],
    keys: &[f32],
    to: *mut f32,
    stride: usize,
) {
    let (dim, padded) = (call.heads.dim, call.cache.tokens_padded());
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [L::splat(0.0); MEMBERS];
        for d in 0..dim {
            let keys = L::load(keys.as_ptr().add(d * padded));
            for (member, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add_product(L::splat(*queries.as_ptr().add(member * dim + d)), keys);
            }
        }
        for (member, sum) in sums.iter().enumerate() {
            sum.store(to.add(member * stride));
        }
    }
}

/// Scales scores by 1/√dim and turns them into shares of one.
fn softmax(scores: &mut [f32], dim: usize) {
    let scale = 1.0 / (dim as f32).sqrt();
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0f64;
    for score in scores.iter_mut() {
        *score = ((*score - highest) * scale).exp();
        sum += f64::from(*score);
    }
    let share = (1.0 / sum) as f32;
    scores.iter_mut().for_each(|score| *score *= share);
}

/// The values up to the token's own, each by its share.
#[inline(always)]
unsafe fn gather<L: Lanes>(call: &Call<'_>, place: Place, head: usize, scores: &[f32], sums: &mut [f32]) {
    let stride = scores_stride(call, place);
    let padded = call.cache.dim_padded();
    for (first, values) in blocks(call, place, |block| call.cache.values(call.layer, block, head)) {
        let tokens = call.cache.shape.block_tokens.min(place.position + 1 - first);
        let members = scores.chunks_exact(stride).zip(sums.chunks_exact_mut(padded));
        for (scores, sums) in members {
            let shares = &scores[first..first + tokens];
            let mut d = 0;
            // SAFETY: `values` has a row of `padded` for each token, `sums` is one such row.
            unsafe {
                while padded - d >= 4 * WIDTH {
                    gather_dims::<L, 4>(shares, &values[d..], padded, &mut sums[d..]);
                    d += 4 * WIDTH;
                }
                while d < padded {
                    gather_dims::<L, 1>(shares, &values[d..], padded, &mut sums[d..]);
                    d += WIDTH;
                }
            }
        }
    }
}

/// REGISTERS · 16 dimensions of one block's values.
#[inline(always)]
unsafe fn gather_dims<L: Lanes, const REGISTERS: usize>(shares: &[f32], values: &[f32], padded: usize, to: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [L::splat(0.0); REGISTERS];
        for (r, sum) in sums.iter_mut().enumerate() {
            *sum = L::load(to.as_ptr().add(r * WIDTH));
        }
        for (token, share) in shares.iter().enumerate() {
            let share = L::splat(*share);
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add_product(share, L::load(values.as_ptr().add(token * padded + r * WIDTH)));
            }
        }
        for (r, sum) in sums.iter().enumerate() {
            sum.store(to.as_mut_ptr().add(r * WIDTH));
        }
    }
}

/// The blocks up to a token's own: the position of the first token in each, and its part.
#[inline(always)]
fn blocks<'a>(
    call: &'a Call<'_>,
    place: Place,
    part: impl Fn(usize) -> &'a [f32] + 'a,
) -> impl Iterator<Item = (usize, &'a [f32])> + 'a {
    let block_tokens = call.cache.shape.block_tokens;
    let table = call.step.table(&call.step.batch.sequences()[place.sequence]);
    let used = &table[..=place.position / block_tokens];
    let numbered = used.iter().enumerate();
    numbered.map(move |(index, &block)| (index * block_tokens, part(block as usize)))
}
