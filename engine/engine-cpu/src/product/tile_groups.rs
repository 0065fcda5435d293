//! Products of weights in groups by AMX, sixteen rows of activations at a time.
//!
//! The same whole numbers as without it, and the same sums between groups: rows that do not fill a tile are left to the
//! other instructions, and nobody can tell which rows those were.

use std::arch::asm;
use std::arch::x86_64::{
    _mm512_and_si512, _mm512_loadu_si512, _mm512_set1_epi8, _mm512_srli_epi16, _mm512_storeu_si512, _mm512_sub_epi8,
};
use std::ops::Range;

use super::finish::finish_row;
use super::groups::Operands;
use super::tile::{ROW_BYTES, configure, load, release};
use super::walk::Call;
use crate::lanes::{Avx512, Lanes, WIDTH};
use crate::matrix::{GROUP, Groups, QUAD, Width, Zero};

/// Rows that a tile takes.
pub(super) const ROWS: usize = WIDTH;
/// Bytes of sixteen rows of a group, one for each number.
const GROUP_BYTES: usize = WIDTH * GROUP;

/// Whole numbers of up to four tiles, and what they have come to over the groups.
#[repr(align(64))]
struct Sums {
    /// Of this group and of the next, which tiles are at work on meanwhile.
    whole: [[[[i32; WIDTH]; ROWS]; 4]; 2],
    sums: [[[f32; WIDTH]; ROWS]; 4],
}

/// Covers tiles, and all whole sixteens of rows.
///
/// # Safety
/// As for [`super::groups::walk`]; the processor has AMX and the process may use it.
#[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
pub(super) unsafe fn walk(call: &Call<'_, u8, i8>, operands: Operands<'_>, tiles: Range<usize>) {
    let per = 2 / call.finish.tiles_of(2);
    let groups = operands.weights.count;
    let mut sums = Sums { whole: [[[[0; WIDTH]; ROWS]; 4]; 2], sums: [[[0.0; WIDTH]; ROWS]; 4] };
    let mut bytes = vec![0; 2 * groups * GROUP_BYTES];
    let rows = call.rows / ROWS * ROWS;
    // SAFETY: the caller's promise; the last of an odd number of sixteens goes alone, and so does a last tile.
    unsafe {
        // Rows of x are half as wide as a tile's, and so a tile of weights has half as many.
        configure(ROWS, GROUP, GROUP / QUAD);
        let mut tile = tiles.start;
        while tile < tiles.end {
            let pair = per == 2 || tiles.end - tile >= 2;
            let count = if pair { 2 } else { 1 };
            for (id, bytes) in
                call.tiles_at::<2>(tile).into_iter().zip(bytes.chunks_exact_mut(groups * GROUP_BYTES)).take(count)
            {
                expand(operands.weights, id, bytes);
            }
            let mut row = 0;
            while row < rows {
                let two = rows - row >= 2 * ROWS;
                block(call, operands, (row, if two { 2 } else { 1 }), (tile, count), &bytes, &mut sums);
                row += if two { 2 * ROWS } else { ROWS };
            }
            tile += count / per;
        }
        release();
    }
}

/// One tile's numbers, a byte for each, less what means zero if that is the same everywhere.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn expand(weights: &Groups, tile: usize, bytes: &mut [u8]) {
    let size = weights.width.group_bytes();
    let from = &weights.numbers[tile * weights.count * size..][..weights.count * size];
    let (zero, low) = (_mm512_set1_epi8(weights.zero.number().cast_signed()), _mm512_set1_epi8(15));
    let lines = bytes.chunks_exact_mut(GROUP_BYTES).zip(from.chunks_exact(size));
    for (to, from) in lines {
        for at in (0..size).step_by(ROW_BYTES) {
            // SAFETY: a line of `from`, and one or two of `to`, are inside them.
            unsafe {
                let line = _mm512_loadu_si512(from.as_ptr().add(at).cast());
                let to = to.as_mut_ptr().add(at);
                match weights.width {
                    Width::Eight => _mm512_storeu_si512(to.cast(), _mm512_sub_epi8(line, zero)),
                    Width::Four => {
                        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(line), low);
                        _mm512_storeu_si512(to.cast(), _mm512_sub_epi8(_mm512_and_si512(line, low), zero));
                        _mm512_storeu_si512(to.add(size).cast(), _mm512_sub_epi8(high, zero));
                    }
                }
            }
        }
    }
}

/// One or two sixteens of rows by one or two tiles.
#[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
unsafe fn block(
    call: &Call<'_, u8, i8>,
    operands: Operands<'_>,
    (row, row_blocks): (usize, usize),
    (tile, tiles): (usize, usize),
    bytes: &[u8],
    sums: &mut Sums,
) {
    let Operands { weights, x, first_row } = operands;
    let groups = weights.count;
    let minima = match &weights.zero {
        Zero::At(_) => None,
        Zero::Minima(minima) => Some(minima),
    };
    let ids = call.tiles_at::<2>(tile);
    for sums in &mut sums.sums {
        *sums = [[0.0; WIDTH]; ROWS];
    }
    // SAFETY: rows, tiles and groups are inside the operands.
    unsafe {
        let numbers = |block: usize, group: usize| {
            x.numbers().as_ptr().add(((first_row + row + block * ROWS) * groups + group) * GROUP)
        };
        let stride = groups * GROUP;
        let multiply = |group: usize, to: *mut [[i32; WIDTH]; ROWS]| {
            let weights = [0, tiles - 1].map(|t| bytes.as_ptr().add((t * groups + group) * GROUP_BYTES));
            let x = [0, row_blocks - 1].map(|block| numbers(block, group));
            match minima {
                None => signed(x, stride, weights, to),
                Some(_) => unsigned(x, stride, weights, to),
            }
        };
        multiply(0, sums.whole[0].as_mut_ptr());
        for group in 0..groups {
            if group + 1 < groups {
                multiply(group + 1, sums.whole[(group + 1) % 2].as_mut_ptr());
            }
            let whole = &sums.whole[group % 2];
            for t in 0..tiles {
                let place = ids[t] * groups + group;
                let scale = Avx512::load_f16(weights.scales.as_ptr().add(place * WIDTH));
                for b in 0..row_blocks {
                    let (whole, to) = (&whole[2 * b + t], &mut sums.sums[2 * b + t]);
                    for r in 0..ROWS {
                        let at = (first_row + row + b * ROWS + r) * groups + group;
                        let (factor, x_sum) = x.factor(at);
                        let found = Avx512::load_whole(whole[r].as_ptr());
                        let mut sum = Avx512::load(to[r].as_ptr());
                        sum = sum.add_product(found, scale.mul(Avx512::splat(factor)));
                        if let Some(minima) = minima {
                            let minimum = Avx512::load_f16(minima.as_ptr().add(place * WIDTH));
                            sum = sum.add_product(minimum, Avx512::splat(factor * x_sum as f32));
                        }
                        sum.store(to[r].as_mut_ptr());
                    }
                }
            }
        }
        for b in 0..row_blocks {
            for r in 0..ROWS {
                let row = row + b * ROWS + r;
                match tiles {
                    2 => finish_row(call, row, tile, load::<2>(&sums.sums[2 * b..], r)),
                    _ => finish_row(call, row, tile, load::<1>(&sums.sums[2 * b..], r)),
                }
            }
        }
    }
}

/// One group of twice sixteen rows by twice sixteen outputs, by an instruction that multiplies bytes.
macro_rules! group {
    ($(#[$doc:meta])* $name:ident, $multiply:literal) => {
        $(#[$doc])*
        #[inline(always)]
        unsafe fn $name(x: [*const i8; 2], stride: usize, weights: [*const u8; 2], to: *mut [[i32; WIDTH]; ROWS]) {
            // SAFETY: the caller's promise: all of it is inside the operands, and tiles are configured for it.
            unsafe {
                asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    "tileloadd tmm6, [{w0} + {line}*1]",
                    "tileloadd tmm4, [{x0} + {stride}*1]",
                    concat!($multiply, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm7, [{w1} + {line}*1]",
                    concat!($multiply, " tmm1, tmm4, tmm7"),
                    "tileloadd tmm5, [{x1} + {stride}*1]",
                    concat!($multiply, " tmm2, tmm5, tmm6"),
                    concat!($multiply, " tmm3, tmm5, tmm7"),
                    "tilestored [{to} + {line}*1], tmm0",
                    "tilestored [{to} + {line}*1 + 1024], tmm1",
                    "tilestored [{to} + {line}*1 + 2048], tmm2",
                    "tilestored [{to} + {line}*1 + 3072], tmm3",
                    x0 = in(reg) x[0], x1 = in(reg) x[1], w0 = in(reg) weights[0], w1 = in(reg) weights[1],
                    stride = in(reg) stride, line = in(reg) ROW_BYTES, to = in(reg) to,
                    options(nostack),
                );
            }
        }
    };
}

group!(
    /// Both with signs.
    signed,
    "tdpbssd"
);
group!(
    /// Weights without signs.
    unsigned,
    "tdpbsud"
);
