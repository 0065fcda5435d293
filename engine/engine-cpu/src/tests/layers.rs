//! Norms, the gate, the embedding.

use engine_backend::{Backend, DType, ForwardBatch, Heads, KvShape, LogitsWanted, Norm, Rope, Shape};

use super::{backends, close, numbers, output, source, stored, tensor};

fn norm_in_f64(x: &[f64], weight: &[f32], epsilon: f64) -> Vec<f64> {
    let columns = weight.len();
    let rows = x.chunks_exact(columns).flat_map(|row| {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / columns as f64;
        let scale = 1.0 / (mean + epsilon).sqrt();
        row.iter().zip(weight).map(move |(x, weight)| x * scale * f64::from(*weight))
    });
    rows.collect()
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().copied().map(f64::from).collect()
}

#[test]
fn norms_are_right() {
    let (rows, columns) = (5, 67);
    let (x, y, weight) = (numbers(1, rows * columns), numbers(2, rows * columns), numbers(3, columns));
    let backend = &backends()[0];
    let norm = || Norm { weight: &weight, epsilon: 1e-5 };
    let mut out = output(rows, columns);
    backend.rms_norm(norm(), &tensor(columns, x.clone()), &mut out).unwrap();
    close(&out.numbers, &norm_in_f64(&wide(&x), &weight, 1e-5), 1e-5);
    let mut sum = tensor(columns, x.clone());
    backend.add_rms_norm(norm(), &mut sum, &tensor(columns, y.clone()), &mut out).unwrap();
    let both: Vec<f64> = wide(&x).iter().zip(wide(&y)).map(|(x, y)| x + y).collect();
    close(&sum.numbers, &both, 1e-6);
    close(&out.numbers, &norm_in_f64(&both, &weight, 1e-5), 1e-5);
}

#[test]
fn the_gate_is_right() {
    let (rows, columns) = (3, 19);
    let x: Vec<f32> = numbers(1, rows * 2 * columns).iter().map(|x| x * 20.0).collect();
    let rows_of_x = x.chunks_exact(2 * columns);
    let expected = rows_of_x.flat_map(|row| {
        (0..columns).map(|at| {
            let (gate, up) = (f64::from(row[at]), f64::from(row[columns + at]));
            gate / (1.0 + (-gate).exp()) * up
        })
    });
    let expected: Vec<f64> = expected.collect();
    let mut out = output(rows, columns);
    backends()[0].silu_mul(&tensor(2 * columns, x), &mut out).unwrap();
    close(&out.numbers, &expected, 1e-4);
}

#[test]
fn the_gate_of_gelu_is_right() {
    let (rows, columns) = (3, 19);
    let x: Vec<f32> = numbers(1, rows * 2 * columns).iter().map(|x| x * 6.0).collect();
    let rows_of_x = x.chunks_exact(2 * columns);
    let expected = rows_of_x.flat_map(|row| {
        (0..columns).map(|at| {
            let (gate, up) = (f64::from(row[at]), f64::from(row[columns + at]));
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (gate + 0.044715 * gate.powi(3));
            0.5 * gate * (1.0 + inner.tanh()) * up
        })
    });
    let expected: Vec<f64> = expected.collect();
    let mut out = output(rows, columns);
    backends()[0].gelu_mul(&tensor(2 * columns, x), &mut out).unwrap();
    close(&out.numbers, &expected, 1e-4);
}

#[test]
fn heads_are_normed_one_by_one_and_values_left_alone() {
    let heads = Heads { query: 3, kv: 1, dim: 8 };
    let x = numbers(1, 2 * heads.qkv_columns());
    let (query, key) = (numbers(2, heads.dim), numbers(3, heads.dim));
    let rows = wide(&x);
    let expected = rows.chunks_exact(heads.qkv_columns()).flat_map(|row| {
        let (queries, rest) = row.split_at(heads.query_columns());
        let (keys, values) = rest.split_at(heads.kv_columns());
        [norm_in_f64(queries, &query, 1e-6), norm_in_f64(keys, &key, 1e-6), values.to_vec()].concat()
    });
    let expected: Vec<f64> = expected.collect();
    let mut qkv = tensor(heads.qkv_columns(), x);
    let norm = |weight| Norm { weight, epsilon: 1e-6 };
    backends()[0].norm_heads(heads, norm(&query), norm(&key), &mut qkv).unwrap();
    close(&qkv.numbers, &expected, 1e-5);
}

#[test]
fn caps_and_factors_are_right() {
    let x = numbers(1, 30).iter().map(|x| x * 50.0).collect::<Vec<f32>>();
    let backend = &backends()[0];
    let mut found = tensor(10, x.clone());
    backend.soft_cap(30.0, &mut found).unwrap();
    let expected: Vec<f64> = wide(&x).iter().map(|x| 30.0 * (x / 30.0).tanh()).collect();
    close(&found.numbers, &expected, 1e-5);
    backend.scale(0.5, &mut found).unwrap();
    let expected: Vec<f64> = expected.iter().map(|x| x * 0.5).collect();
    close(&found.numbers, &expected, 1e-5);
}

#[test]
fn tokens_outside_the_vocabulary_and_blocks_outside_the_cache_are_refused() {
    let backend = &backends()[0];
    let heads = Heads { query: 1, kv: 1, dim: 2 };
    let cache = backend.kv_cache(KvShape { layers: 1, blocks: 2, block_tokens: 4, heads }).unwrap();
    let ropes = [Rope { frequencies: vec![1.0], magnitude: 1.0 }];
    let step = |tokens: &[u32], position, blocks: &[u32]| {
        let mut batch = ForwardBatch::default();
        batch.push(tokens, position, blocks.iter().copied(), LogitsWanted::Yes);
        backend.step(&batch, &ropes, &cache)
    };
    assert!(step(&[1], 0, &[2]).is_err(), "no such block");
    assert!(step(&[1, 1], 3, &[0]).is_err(), "the table is too short");
    assert!(step(&[], 0, &[0]).is_err(), "nothing to compute");
    let (bytes, back) = stored(DType::F16, &numbers(1, 20 * 3));
    let table = backend.matrix(&source(DType::F16, &bytes, Shape { rows: 20, columns: 3 })).unwrap();
    let mut out = output(2, 3);
    assert!(backend.embed(&step(&[20], 0, &[0]).unwrap(), &table, &mut out).is_err(), "no such token");
    backend.embed(&step(&[19, 4], 0, &[0]).unwrap(), &table, &mut out).unwrap();
    assert_eq!(out.numbers, [&back[57..60], &back[12..15]].concat());
}
