//! What becomes of finished sums: stored, added to what is there, or joined as gate and up.

use engine_backend::Gate;

use super::walk::Call;
use crate::lanes::{Lanes, WIDTH, tanh};

/// Where sums go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// `out = sums`.
    Store,
    /// `out += sums`.
    Add,
    /// The first half of the outputs are gates, the second ups: `out = act(gates) * ups`.
    Gate(Gate),
}

impl Finish {
    /// Columns of out, for so many rows of weights.
    pub(super) const fn columns(self, outputs: usize) -> usize {
        match self {
            Finish::Store | Finish::Add => outputs,
            Finish::Gate(_) => outputs / 2,
        }
    }

    /// Tiles of out that so many tiles of weights make.
    pub(super) const fn tiles_of(self, tiles: usize) -> usize {
        match self {
            Finish::Store | Finish::Add => tiles,
            Finish::Gate(_) => tiles / 2,
        }
    }
}

/// Puts one row's sums where they belong; `tile` is the first of out's.
///
/// # Safety
/// Row and tiles are inside `out` and nobody else's.
#[inline(always)]
pub(super) unsafe fn finish_row<L: Lanes, W, F, const TILES: usize>(
    call: &Call<'_, W, F>,
    row: usize,
    tile: usize,
    mut sums: [L; TILES],
) {
    let ids = call.tiles_at::<TILES>(tile);
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(bias) = call.bias {
            for (sum, id) in sums.iter_mut().zip(ids) {
                *sum = sum.add(part(bias, id * WIDTH));
            }
        }
        let done = call.finish.tiles_of(TILES);
        for t in 0..done {
            let column = (tile + t) * WIDTH;
            let to = call.out.part(row * call.columns + column..row * call.columns + call.columns.min(column + WIDTH));
            let finished = match call.finish {
                Finish::Store => sums[t],
                Finish::Add => sums[t].add(part(to, 0)),
                Finish::Gate(Gate::Silu) => silu(sums[t]).mul(sums[done + t]),
                Finish::Gate(Gate::Gelu) => gelu(sums[t]).mul(sums[done + t]),
            };
            store(finished, to);
        }
    }
}

/// x / (1 + e^-x).
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn silu<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's promise.
    unsafe { x.div(L::splat(1.0).add(x.mul(L::splat(-1.0)).exp())) }
}

/// x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), as models with it were trained.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn gelu<L: Lanes>(x: L) -> L {
    // √(2/π)
    const SLOPE: f32 = 0.797_884_6;
    // SAFETY: the caller's promise.
    unsafe {
        let inner = x.add_product(x.mul(x).mul(x), L::splat(0.044_715)).mul(L::splat(SLOPE));
        x.mul(L::splat(0.5)).mul(L::splat(1.0).add(tanh(inner)))
    }
}

/// Sixteen numbers from `start` on, zeros where there are none.
#[inline(always)]
unsafe fn part<L: Lanes>(numbers: &[f32], start: usize) -> L {
    let numbers = &numbers[start..];
    // SAFETY: as many places as are read.
    unsafe {
        if numbers.len() >= WIDTH {
            return L::load(numbers.as_ptr());
        }
        let mut lanes = [0.0; WIDTH];
        lanes[..numbers.len()].copy_from_slice(numbers);
        L::load(lanes.as_ptr())
    }
}

/// As many as there are places for.
#[inline(always)]
unsafe fn store<L: Lanes>(numbers: L, to: &mut [f32]) {
    // SAFETY: as many places as are written.
    unsafe {
        if to.len() >= WIDTH {
            return numbers.store(to.as_mut_ptr());
        }
        let mut lanes = [0.0; WIDTH];
        numbers.store(lanes.as_mut_ptr());
        to.copy_from_slice(&lanes[..to.len()]);
    }
}
