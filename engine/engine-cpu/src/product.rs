//! `out = x · weightᵀ + bias`, the product that a model spends its time in.
//!
//! A tile of x's rows times a tile of outputs stays in registers while the inner dimension passes by. Every output is
//! one chain of multiply-adds in order of the inner dimension, whatever the tile: results do not depend on the batch.

use std::ops::Range;

use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512};
use crate::lanes::{Element, Lanes, Portable, WIDTH};
use crate::matrix::{Matrix, Tiles};
use crate::parallel::{Shared, split};

/// Rows of x that are reused from the cache while the weights pass by.
const ROWS_BLOCK: usize = 64;

/// Multiplies `rows` rows of x (each `weight.shape.columns` long) into `out` (rows of `weight.shape.rows`).
pub(crate) fn linear(isa: Isa, x: &[f32], weight: &Matrix, bias: Option<&[f32]>, out: &mut [f32]) {
    match &weight.tiles {
        Tiles::F32(tiles) => product(isa, x, weight, tiles, bias, out),
        Tiles::F16(tiles) => product(isa, x, weight, tiles, bias, out),
        Tiles::Bf16(tiles) => product(isa, x, weight, tiles, bias, out),
    }
}

fn product<E: Element>(isa: Isa, x: &[f32], weight: &Matrix, tiles: &[E], bias: Option<&[f32]>, out: &mut [f32]) {
    let (columns, inner) = (weight.shape.rows, weight.shape.columns);
    let rows = x.len() / inner;
    assert_eq!(x.len(), rows * inner, "x has whole rows");
    assert_eq!(out.len(), rows * columns, "out has a place for every output");
    assert_eq!(tiles.len(), columns.next_multiple_of(WIDTH) * inner, "Matrix::of packs whole tiles");
    let out = Shared::of(out);
    let call = Call { x, tiles, bias, out, rows, columns, inner };
    split(columns.div_ceil(WIDTH), rows * columns * inner, |range| {
        // SAFETY: the sizes were checked above, threads get disjoint ranges of tiles, and `isa` was detected.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512(&call, range),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(&call, range),
                _ => portable(&call, range),
            }
        }
    });
}

/// One product's operands.
struct Call<'a, E> {
    x: &'a [f32],
    tiles: &'a [E],
    bias: Option<&'a [f32]>,
    out: Shared,
    rows: usize,
    columns: usize,
    inner: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn avx512<E: Element>(call: &Call<'_, E>, range: Range<usize>) {
    // 8 × 2 sums take 16 of 32 registers.
    // SAFETY: the caller's promise.
    unsafe { walk::<Avx512, E, 8, 2>(call, range) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2<E: Element>(call: &Call<'_, E>, range: Range<usize>) {
    // 4 × 1 sums take 8 of 16 registers, since each is two.
    // SAFETY: the caller's promise.
    unsafe { walk::<Avx2, E, 4, 1>(call, range) }
}

unsafe fn portable<E: Element>(call: &Call<'_, E>, range: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { walk::<Portable, E, 2, 1>(call, range) }
}

/// Covers a range of weight tiles and all rows with register tiles of ROWS × TILES, then with smaller ones.
#[inline(always)]
unsafe fn walk<L: Lanes, E: Element, const ROWS: usize, const TILES: usize>(call: &Call<'_, E>, range: Range<usize>) {
    for block in (0..call.rows).step_by(ROWS_BLOCK) {
        let end = call.rows.min(block + ROWS_BLOCK);
        let mut tile = range.start;
        while tile < range.end {
            // A single row has no reuse to gain; more tiles at once keep the adders busy instead.
            let tiles = match end - block {
                1 if range.end - tile >= 4 => 4,
                _ if range.end - tile >= TILES => TILES,
                _ => 1,
            };
            // SAFETY: rows and tiles are inside the call's.
            unsafe {
                if tiles == 4 {
                    register_tile::<L, E, 1, 4>(call, block, tile);
                } else if tiles == TILES {
                    rows::<L, E, ROWS, TILES>(call, block..end, tile);
                } else {
                    rows::<L, E, ROWS, 1>(call, block..end, tile);
                }
            }
            tile += tiles;
        }
    }
}

#[inline(always)]
unsafe fn rows<L: Lanes, E: Element, const ROWS: usize, const TILES: usize>(
    call: &Call<'_, E>,
    range: Range<usize>,
    tile: usize,
) {
    let mut row = range.start;
    // SAFETY: the caller's promise.
    unsafe {
        while range.end - row >= ROWS {
            register_tile::<L, E, ROWS, TILES>(call, row, tile);
            row += ROWS;
        }
        while range.end - row >= 2 {
            register_tile::<L, E, 2, TILES>(call, row, tile);
            row += 2;
        }
        if row < range.end {
            register_tile::<L, E, 1, TILES>(call, row, tile);
        }
    }
}

/// ROWS rows times TILES · 16 outputs.
#[inline(always)]
unsafe fn register_tile<L: Lanes, E: Element, const ROWS: usize, const TILES: usize>(
    call: &Call<'_, E>,
    row: usize,
    tile: usize,
) {
    let &Call { x, tiles, bias, out, rows: _, columns, inner } = call;
    // SAFETY: `row + ROWS` and `tile + TILES` are inside the operands, whose sizes `product` checked.
    unsafe {
        let x = x.as_ptr().add(row * inner);
        let weights = tiles.as_ptr().add(tile * WIDTH * inner);
        let mut sums = [[L::splat(0.0); TILES]; ROWS];
        for k in 0..inner {
            let mut weight = [L::splat(0.0); TILES];
            for (t, weight) in weight.iter_mut().enumerate() {
                *weight = E::load(weights.add((t * inner + k) * WIDTH));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = L::splat(*x.add(r * inner + k));
                for (sum, weight) in sums.iter_mut().zip(weight) {
                    *sum = sum.add_product(factor, weight);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (t, sum) in sums.iter().enumerate() {
                let column = (tile + t) * WIDTH;
                let mut lanes = [0.0; WIDTH];
                sum.store(lanes.as_mut_ptr());
                let to = out.at((row + r) * columns + column);
                for (lane, number) in lanes.into_iter().enumerate().take(columns - column) {
                    *to.add(lane) = number + bias.map_or(0.0, |bias| bias[column + lane]);
                }
            }
        }
    }
}
