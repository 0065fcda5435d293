//! Norms, the gate, and rotation: what happens to each row by itself.

use crate::isa::Isa;
use crate::lanes::{Lanes, Vectors, WIDTH, on, tanh};
use crate::product::{gelu, silu};
use crate::threads::{Shared, Threads};

/// Numbers that one thread goes over as fast as two would, handing over included.
const ALONE_NUMBERS_MAX: usize = 1 << 14;

/// Which instructions and threads.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) isa: Isa,
    pub(crate) threads: &'a Threads,
}

/// A norm's parameters, and what it is put on.
#[derive(Clone, Copy)]
pub(crate) struct RmsNorm<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) epsilon: f32,
}

/// `out = x / rms(x) * weight`, row by row.
pub(crate) fn rms_norm(means: Means<'_>, norm: RmsNorm<'_>, x: &[f32], out: &mut [f32]) {
    let columns = norm.weight.len();
    by_row(means, columns, out, |row, out| {
        let x = &x[row * columns..][..columns];
        // SAFETY: `means.isa` was detected.
        unsafe { on(means.isa, NormRow { norm, x, out }) }
    });
}

/// `sum += x; out = sum / rms(sum) * weight`, row by row.
pub(crate) fn add_rms_norm(means: Means<'_>, norm: RmsNorm<'_>, sum: &mut [f32], x: &[f32], out: &mut [f32]) {
    let columns = norm.weight.len();
    let sums = Shared::of(sum);
    by_row(means, columns, out, |row, out| {
        // SAFETY: each row is one item, so one thread's; `means.isa` was detected.
        unsafe {
            let sum = sums.part(row * columns..(row + 1) * columns);
            on(means.isa, AddRow { sum: &mut *sum, x: &x[row * columns..][..columns] });
            on(means.isa, NormRow { norm, x: sum, out });
        }
    });
}

/// `out = silu(left half) * right half`, row by row.
pub(crate) fn silu_mul(means: Means<'_>, x: &[f32], columns: usize, out: &mut [f32]) {
    by_row(means, columns, out, |row, out| {
        let (gate, up) = x[row * 2 * columns..][..2 * columns].split_at(columns);
        // SAFETY: `means.isa` was detected.
        unsafe { on(means.isa, Together(SiluMul, [gate, up], out)) }
    });
}

/// The same for gelu by tanh, as models with it were trained.
pub(crate) fn gelu_mul(means: Means<'_>, x: &[f32], columns: usize, out: &mut [f32]) {
    by_row(means, columns, out, |row, out| {
        let (gate, up) = x[row * 2 * columns..][..2 * columns].split_at(columns);
        // SAFETY: `means.isa` was detected.
        unsafe { on(means.isa, Together(GeluMul, [gate, up], out)) }
    });
}

/// Norms each head of a row by itself, in place.
pub(crate) fn rms_norm_heads(means: Means<'_>, norm: RmsNorm<'_>, heads: &mut [f32]) {
    let mut normed = vec![0.0; norm.weight.len()];
    for head in heads.chunks_exact_mut(norm.weight.len()) {
        // SAFETY: `means.isa` was detected.
        unsafe { on(means.isa, NormRow { norm, x: head, out: &mut normed }) }
        head.copy_from_slice(&normed);
    }
}

/// `x = cap * tanh(x / cap)`.
pub(crate) fn soft_cap(means: Means<'_>, cap: f32, x: &mut [f32]) {
    by_row(means, x.len().max(1), x, |_, x| {
        // SAFETY: `means.isa` was detected; each number is read before it is written.
        unsafe { on(means.isa, Cap(cap, x)) }
    });
}

/// Turns one head by its token's cosines and sines: pair (i, i + number of turns); what lies beyond stays.
pub(crate) fn rotate(head: &mut [f32], (cosines, sines): (&[f32], &[f32])) {
    let (first, second) = head.split_at_mut(cosines.len());
    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

fn by_row(means: Means<'_>, columns: usize, out: &mut [f32], job: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = out.len() / columns;
    let shared = Shared::of(out);
    means.threads.split(rows, (ALONE_NUMBERS_MAX / columns).max(1), |range| {
        for row in range {
            // SAFETY: each row is one item, so one thread's.
            job(row, unsafe { shared.part(row * columns..(row + 1) * columns) });
        }
    });
}

struct NormRow<'a> {
    norm: RmsNorm<'a>,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Vectors for NormRow<'_> {
    type Outcome = ();

    #[inline(always)]
    unsafe fn with<L: Lanes>(self) {
        let NormRow { norm: RmsNorm { weight, epsilon }, x, out } = self;
        let (chunks, rest) = x.as_chunks::<WIDTH>();
        // SAFETY: chunks have sixteen numbers; the caller has the instructions.
        unsafe {
            // Several sums: faster than one, and each rounds less.
            let mut sums = [L::splat(0.0); 4];
            for (index, chunk) in chunks.iter().enumerate() {
                let chunk = L::load(chunk.as_ptr());
                sums[index % 4] = sums[index % 4].add_product(chunk, chunk);
            }
            let squares = sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum();
            let squares = squares + rest.iter().map(|x| x * x).sum::<f32>();
            let scale = 1.0 / (squares / x.len() as f32 + epsilon).sqrt();
            each::<L, _>(Scale(scale), [x, weight], out);
        }
    }
}

struct AddRow<'a> {
    sum: &'a mut [f32],
    x: &'a [f32],
}

impl Vectors for AddRow<'_> {
    type Outcome = ();

    #[inline(always)]
    unsafe fn with<L: Lanes>(self) {
        self.sum.iter_mut().zip(self.x).for_each(|(sum, x)| *sum += x);
    }
}

/// Two inputs of one row, made one.
struct Together<'a, B>(B, [&'a [f32]; 2], &'a mut [f32]);

impl<B: Both> Vectors for Together<'_, B> {
    type Outcome = ();

    #[inline(always)]
    unsafe fn with<L: Lanes>(self) {
        // SAFETY: the caller has the instructions.
        unsafe { each::<L, _>(self.0, self.1, self.2) }
    }
}

struct Cap<'a>(f32, &'a mut [f32]);

impl Vectors for Cap<'_> {
    type Outcome = ();

    #[inline(always)]
    unsafe fn with<L: Lanes>(self) {
        let Cap(cap, x) = self;
        let (whole, rest) = x.as_chunks_mut::<WIDTH>();
        // SAFETY: sixteen numbers each; the caller has the instructions.
        unsafe {
            let capped = |x: L| L::splat(cap).mul(tanh(x.mul(L::splat(1.0 / cap))));
            whole.iter_mut().for_each(|x| capped(L::load(x.as_ptr())).store(x.as_mut_ptr()));
            let mut lanes = [0.0; WIDTH];
            lanes[..rest.len()].copy_from_slice(rest);
            capped(L::load(lanes.as_ptr())).store(lanes.as_mut_ptr());
            rest.copy_from_slice(&lanes[..rest.len()]);
        }
    }
}

/// What becomes of two numbers.
trait Both {
    /// # Safety
    /// L's instructions exist.
    unsafe fn of<L: Lanes>(&self, first: L, second: L) -> L;
}

/// `x * scale * weight`.
struct Scale(f32);

impl Both for Scale {
    #[inline(always)]
    unsafe fn of<L: Lanes>(&self, x: L, weight: L) -> L {
        // SAFETY: the caller's promise.
        unsafe { x.mul(L::splat(self.0)).mul(weight) }
    }
}

/// `silu(gate) * up`.
struct SiluMul;

impl Both for SiluMul {
    #[inline(always)]
    unsafe fn of<L: Lanes>(&self, gate: L, up: L) -> L {
        // SAFETY: the caller's promise.
        unsafe { silu(gate).mul(up) }
    }
}

/// `gelu(gate) * up`.
struct GeluMul;

impl Both for GeluMul {
    #[inline(always)]
    unsafe fn of<L: Lanes>(&self, gate: L, up: L) -> L {
        // SAFETY: the caller's promise.
        unsafe { gelu(gate).mul(up) }
    }
}

/// `out = what(first, second)`, sixteen at a time; the last few in a register of their own.
///
/// # Safety
/// L's instructions exist.
#[inline(always)]
unsafe fn each<L: Lanes, B: Both>(what: B, [first, second]: [&[f32]; 2], out: &mut [f32]) {
    assert!(first.len() == out.len() && second.len() == out.len(), "equal lengths");
    let (whole, rest) = out.as_chunks_mut::<WIDTH>();
    let (first, first_rest) = first.as_chunks::<WIDTH>();
    let (second, second_rest) = second.as_chunks::<WIDTH>();
    // SAFETY: all have sixteen numbers; the caller has the instructions.
    unsafe {
        for ((out, first), second) in whole.iter_mut().zip(first).zip(second) {
            what.of(L::load(first.as_ptr()), L::load(second.as_ptr())).store(out.as_mut_ptr());
        }
        let mut lanes = [[0.0; WIDTH]; 3];
        lanes[0][..rest.len()].copy_from_slice(first_rest);
        lanes[1][..rest.len()].copy_from_slice(second_rest);
        let done = what.of(L::load(lanes[0].as_ptr()), L::load(lanes[1].as_ptr()));
        done.store(lanes[2].as_mut_ptr());
        rest.copy_from_slice(&lanes[2][..rest.len()]);
    }
}
