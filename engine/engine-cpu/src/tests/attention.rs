//! Paged attention against plain loops over plain rows.

use engine_backend::{Attention, Backend, ForwardBatch, Heads, KvShape, LogitsWanted, Rope};

use super::{backends, close, fast, numbers, output, tensor};
use crate::{CpuBackend, KvType};

/// One sequence: its rows of query, key and value, and the blocks it was given.
struct Sequence {
    rows: Vec<f32>,
    blocks: Vec<u32>,
}

const HEADS: [Heads; 5] = [
    Heads { query: 7, kv: 1, dim: 64 },
    Heads { query: 4, kv: 2, dim: 16 },
    Heads { query: 10, kv: 2, dim: 24 },
    Heads { query: 1, kv: 1, dim: 2 },
    Heads { query: 5, kv: 1, dim: 80 },
];

fn rope(heads: Heads) -> Rope {
    Rope { frequencies: (0..heads.dim / 2).map(|pair| 0.7f32.powi(pair as i32)).collect(), magnitude: 1.0 }
}

fn turned(row: &[f64], position: usize, heads: Heads, rope: &Rope) -> Vec<f64> {
    let half = heads.dim / 2;
    let mut out = row.to_vec();
    for head in out[..heads.query_columns() + heads.kv_columns()].chunks_exact_mut(heads.dim) {
        for pair in 0..half {
            let (sin, cos) = (position as f64 * f64::from(rope.frequencies[pair])).sin_cos();
            let (a, b) = (head[pair], head[pair + half]);
            (head[pair], head[pair + half]) = (a * cos - b * sin, b * cos + a * sin);
        }
    }
    out
}

/// What the last of a sequence's tokens should see.
fn naive(rows: &[f32], heads: Heads, rope: &Rope, attention: &Attention) -> Vec<f64> {
    let rows = rows.chunks_exact(heads.qkv_columns());
    let rows: Vec<Vec<f64>> = rows
        .enumerate()
        .map(|(position, row)| {
            let row: Vec<f64> = row.iter().copied().map(f64::from).collect();
            turned(&row, position, heads, rope)
        })
        .collect();
    let last = rows.last().unwrap();
    let first = attention.window.map_or(0, |window| rows.len().saturating_sub(window));
    let rows = &rows[first..];
    let attended = (0..heads.query).flat_map(|query| {
        let kv = query / (heads.query / heads.kv);
        let key_at = heads.query_columns() + kv * heads.dim;
        let value_at = key_at + heads.kv_columns();
        let weights: Vec<f64> = rows
            .iter()
            .map(|row| {
                let dot: f64 = (0..heads.dim).map(|d| last[query * heads.dim + d] * row[key_at + d]).sum();
                let score = dot * f64::from(attention.scale);
                let cap = attention.soft_cap.map(f64::from);
                cap.map_or(score, |cap| cap * (score / cap).tanh()).exp()
            })
            .collect();
        let total: f64 = weights.iter().sum();
        (0..heads.dim)
            .map(|d| weights.iter().zip(rows).map(|(w, row)| w * row[value_at + d]).sum::<f64>() / total)
            .collect::<Vec<f64>>()
    });
    attended.collect()
}

/// Computes two sequences whose prompts are cut into chunks of `chunk`, side by side in every batch.
/// Returns a row for each token of each sequence.
fn paged(
    backend: &CpuBackend,
    shape: KvShape,
    attention: &Attention,
    sequences: &[Sequence],
    chunk: usize,
) -> Vec<Vec<f32>> {
    let (heads, ropes) = (shape.heads, [rope(shape.heads)]);
    let mut cache = backend.kv_cache(shape).unwrap();
    let mut found = vec![Vec::new(); sequences.len()];
    let tokens = |sequence: &Sequence| sequence.rows.len() / heads.qkv_columns();
    let longest = sequences.iter().map(tokens).max().unwrap();
    for start in (0..longest).step_by(chunk) {
        let mut batch = ForwardBatch::default();
        let (mut rows, mut owners) = (Vec::new(), Vec::new());
        for (owner, sequence) in sequences.iter().enumerate() {
            let end = tokens(sequence).min(start + chunk);
            if start < end {
                let blocks = sequence.blocks.iter().copied();
                batch.push(&vec![0; end - start], start as u32, blocks, LogitsWanted::Yes);
                rows.extend_from_slice(&sequence.rows[start * heads.qkv_columns()..end * heads.qkv_columns()]);
                owners.extend(std::iter::repeat_n(owner, end - start));
            }
        }
        let step = backend.step(&batch, &ropes, &cache).unwrap();
        let mut qkv = tensor(heads.qkv_columns(), rows);
        let mut out = output(owners.len(), heads.query_columns());
        backend.rotate_and_store(&step, &mut qkv, &mut cache, attention).unwrap();
        backend.attend(&step, &qkv, &cache, attention, &mut out).unwrap();
        for (owner, row) in owners.iter().zip(out.numbers.chunks_exact(heads.query_columns())) {
            found[*owner].extend_from_slice(row);
        }
    }
    found
}

fn sequences(heads: Heads, block_tokens: usize) -> Vec<Sequence> {
    let lengths = [37, 21];
    let mut free = (0..160u32).rev().step_by(2);
    let sequence = |(seed, tokens): (usize, usize)| Sequence {
        rows: numbers(seed as u64 + 5, tokens * heads.qkv_columns()),
        blocks: free.by_ref().take(tokens.div_ceil(block_tokens)).collect(),
    };
    lengths.into_iter().enumerate().map(sequence).collect()
}

#[test]
fn paged_attention_is_right_for_every_head_shape_block_size_and_chunk() {
    for heads in HEADS {
        for block_tokens in [1, 4, 16, 20, 32] {
            let sequences = sequences(heads, block_tokens);
            let shape = KvShape { layers: 2, blocks: 160, block_tokens, heads };
            // The second layer: the first must stay untouched.
            let attention = Attention::plain(1, heads);
            for backend in backends() {
                let whole = paged(&backend, shape, &attention, &sequences, 64);
                for (sequence, found) in sequences.iter().zip(&whole) {
                    for (token, found) in found.chunks_exact(heads.query_columns()).enumerate() {
                        let rows = &sequence.rows[..(token + 1) * heads.qkv_columns()];
                        close(found, &naive(rows, heads, &rope(heads), &attention), 2e-5);
                    }
                }
                for chunk in [1, 7, 16] {
                    let cut = paged(&backend, shape, &attention, &sequences, chunk);
                    assert_eq!(cut, whole, "chunks of {chunk}, to the last bit");
                }
            }
        }
    }
}

#[test]
fn windows_caps_and_scales_are_right() {
    let heads = HEADS[2];
    for block_tokens in [4, 16] {
        let sequences = sequences(heads, block_tokens);
        let shape = KvShape { layers: 2, blocks: 160, block_tokens, heads };
        let plain = Attention::plain(1, heads);
        for attention in [
            Attention { window: Some(1), ..plain },
            Attention { window: Some(9), ..plain },
            Attention { soft_cap: Some(0.5), ..plain },
            Attention { scale: 0.7, window: Some(16), soft_cap: Some(2.0), ..plain },
        ] {
            let whole = paged(&backends()[0], shape, &attention, &sequences, 64);
            for (sequence, found) in sequences.iter().zip(&whole) {
                for (token, found) in found.chunks_exact(heads.query_columns()).enumerate() {
                    let rows = &sequence.rows[..(token + 1) * heads.qkv_columns()];
                    close(found, &naive(rows, heads, &rope(heads), &attention), 2e-5);
                }
            }
            let cut = paged(&backends()[0], shape, &attention, &sequences, 7);
            assert_eq!(cut, whole, "chunks of 7, to the last bit");
        }
    }
}

#[test]
fn narrow_keys_and_values_are_near_and_independent_of_chunks() {
    for (kv, error_max) in [(KvType::Bf16, 0.03), (KvType::Int8, 0.05)] {
        for heads in HEADS {
            for block_tokens in [1, 5, 16, 32] {
                let sequences = sequences(heads, block_tokens);
                let shape = KvShape { layers: 2, blocks: 160, block_tokens, heads };
                let plain = Attention::plain(1, heads);
                for attention in [plain, Attention { window: Some(9), soft_cap: Some(2.0), ..plain }] {
                    for backend in fast(kv) {
                        let whole = paged(&backend, shape, &attention, &sequences, 64);
                        for (sequence, found) in sequences.iter().zip(&whole) {
                            for (token, found) in found.chunks_exact(heads.query_columns()).enumerate() {
                                let rows = &sequence.rows[..(token + 1) * heads.qkv_columns()];
                                close(found, &naive(rows, heads, &rope(heads), &attention), error_max);
                            }
                        }
                        for chunk in [1, 7] {
                            let cut = paged(&backend, shape, &attention, &sequences, chunk);
                            assert_eq!(cut, whole, "chunks of {chunk}, to the last bit");
                        }
                    }
                }
            }
        }
    }
}

/// Long enough for several parts of the context, which threads share when there is one token.
#[test]
fn a_long_context_is_the_same_in_one_chunk_and_token_by_token() {
    let heads = Heads { query: 2, kv: 1, dim: 16 };
    let tokens = 1300;
    let (rows, blocks) = (numbers(9, tokens * heads.qkv_columns()), (0..82).collect());
    let sequence = [Sequence { rows, blocks }];
    let shape = KvShape { layers: 1, blocks: 82, block_tokens: 16, heads };
    for attention in [Attention::plain(0, heads), Attention { window: Some(600), ..Attention::plain(0, heads) }] {
        for backend in [&fast(KvType::Bf16)[0], &backends()[0]] {
            let whole = paged(backend, shape, &attention, &sequence, tokens);
            let cut = paged(backend, shape, &attention, &sequence, 1);
            assert_eq!(cut, whole, "token by token, to the last bit");
            let last = &whole[0][(tokens - 1) * heads.query_columns()..];
            close(last, &naive(&sequence[0].rows, heads, &rope(heads), &attention), 5e-3);
        }
    }
}
