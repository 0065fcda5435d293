//! Norms, the gate, and rotation: what happens to each row by itself.

use crate::lanes::WIDTH;
use crate::parallel;

/// Counted as this many multiplications when deciding about threads.
const EXP_WORK: usize = 16;

/// `out = x / rms(x) * weight`, row by row.
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let columns = weight.len();
    let work = 2 * x.len();
    parallel::rows(out, columns, work, |row, out| {
        let x = &x[row * columns..][..columns];
        let mean = sum_of_squares(x) / columns as f32;
        let scale = 1.0 / (mean + epsilon).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = weight * (x * scale);
        }
    });
}

/// The same for each head of a row, in place.
pub(crate) fn rms_norm_in_place(heads: &mut [f32], weight: &[f32], epsilon: f32) {
    for head in heads.chunks_exact_mut(weight.len()) {
        let mean = sum_of_squares(head) / weight.len() as f32;
        let scale = 1.0 / (mean + epsilon).sqrt();
        head.iter_mut().zip(weight).for_each(|(x, weight)| *x = weight * (*x * scale));
    }
}

/// `x = cap * tanh(x / cap)`.
pub(crate) fn soft_cap(cap: f32, x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = cap * (*x / cap).tanh());
}

/// `sum += x`.
pub(crate) fn add(sum: &mut [f32], x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
}

/// `out = silu(left half) * right half`, row by row.
pub(crate) fn silu_mul(x: &[f32], columns: usize, out: &mut [f32]) {
    parallel::rows(out, columns, EXP_WORK * x.len(), |row, out| {
        let (gate, up) = x[row * 2 * columns..][..2 * columns].split_at(columns);
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate / (1.0 + (-gate).exp()) * up;
        }
    });
}

/// `out = gelu(left half) * right half`, row by row; gelu by tanh, as models with it were trained.
pub(crate) fn gelu_mul(x: &[f32], columns: usize, out: &mut [f32]) {
    // √(2/π)
    const SLOPE: f32 = 0.797_884_6;
    parallel::rows(out, columns, EXP_WORK * x.len(), |row, out| {
        let (gate, up) = x[row * 2 * columns..][..2 * columns].split_at(columns);
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            let inner = SLOPE * (gate + 0.044_715 * gate * gate * gate);
            *out = 0.5 * gate * (1.0 + inner.tanh()) * up;
        }
    });
}

/// Turns one head by its token's angles: pair (i, i + number of turns); what lies beyond stays.
pub(crate) fn rotate(head: &mut [f32], turns: &[(f32, f32)]) {
    let (first, second) = head.split_at_mut(turns.len());
    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(turns) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

/// Sixteen partial sums: faster than one, and each rounds less.
fn sum_of_squares(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<WIDTH>();
    let mut sums = [0.0f32; WIDTH];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x * x);
    }
    let rest: f32 = rest.iter().map(|x| x * x).sum();
    sums.iter().sum::<f32>() + rest
}
