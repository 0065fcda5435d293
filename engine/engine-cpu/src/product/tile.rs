//! The product of bf16 by AMX: tiles of sixteen rows by sixteen outputs, thirty-two columns a step.
//!
//! A row of a tile is summed by itself, so a product of one row and one of hundreds give the same bits.

use std::arch::asm;
use std::ops::Range;

use half::bf16;

use super::finish::finish_row;
use super::walk::Call;
use crate::lanes::{Avx512, Lanes, WIDTH};
use crate::matrix::PAIRED_COLUMNS;

/// Bytes in a row of a tile.
pub(super) const ROW_BYTES: usize = 64;
/// Bytes of weights that a step takes of each tile.
const STEP_BYTES: usize = WIDTH * ROW_BYTES;

/// Sums of up to four tiles on their way to `out`.
#[repr(align(64))]
struct Sums([[[f32; WIDTH]; WIDTH]; 4]);

type Operands<'a> = Call<'a, bf16, bf16>;

/// Covers a range of out's tiles and all rows.
///
/// # Safety
/// As for [`super::walk::walk`]; the processor has AMX and the process may use it. Rows of x are filled up to whole
/// steps, and there is memory for a multiple of sixteen of them.
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
pub(super) unsafe fn walk(call: &Operands<'_>, tiles: Range<usize>) {
    let per = 4 / call.finish.tiles_of(4);
    let mut sums = Sums([[[0.0; WIDTH]; WIDTH]; 4]);
    // SAFETY: the caller's promise. Nothing else in this process uses tiles, and they are given back at the end.
    unsafe {
        let whole = call.rows / (2 * WIDTH) * (2 * WIDTH);
        let rest = call.rows - whole;
        if whole > 0 {
            configure(WIDTH, ROW_BYTES, WIDTH);
            let mut tile = tiles.start;
            while tile < tiles.end {
                let pair = tiles.end - tile >= 2 / per;
                for row in (0..whole).step_by(2 * WIDTH) {
                    match pair {
                        true => square(call, row, tile, &mut sums),
                        false => (0..2).for_each(|half| one(call, row + half * WIDTH, WIDTH, tile, &mut sums)),
                    }
                }
                tile += if pair { 2 / per } else { 1 };
            }
        }
        for row in (whole..whole + rest).step_by(WIDTH) {
            let rows = WIDTH.min(call.rows - row);
            configure(rows, ROW_BYTES, WIDTH);
            let mut tile = tiles.start;
            while tile < tiles.end {
                let left = (tiles.end - tile) * per;
                match left {
                    4.. => four(call, row, rows, tile, &mut sums),
                    2.. => two(call, row, rows, tile, &mut sums),
                    _ => one(call, row, rows, tile, &mut sums),
                }
                tile += match left {
                    4.. => 4 / per,
                    2.. => 2 / per,
                    _ => 1,
                };
            }
        }
        release();
    }
}

/// What the processor is told about its tiles.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Sums (0–3) and x (4, 5) have so many rows, x's of so many bytes; weights (6, 7) have rows of their own.
///
/// # Safety
/// As for [`configure_each`].
pub(super) unsafe fn configure(rows: usize, x_bytes: usize, weight_rows: usize) {
    let (rows, weight_rows, x_bytes, bytes) = (rows as u8, weight_rows as u8, x_bytes as u16, ROW_BYTES as u16);
    let rows = [rows, rows, rows, rows, rows, rows, weight_rows, weight_rows];
    // SAFETY: the caller's promise.
    unsafe { configure_each(rows, [bytes, bytes, bytes, bytes, x_bytes, x_bytes, bytes, bytes]) }
}

/// Says how many rows each tile has, and how many bytes a row.
///
/// # Safety
/// The processor has AMX and the process may use it; [`release`] follows on this thread.
pub(crate) unsafe fn configure_each(rows: [u8; 8], row_bytes: [u16; 8]) {
    let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    config.row_bytes[..8].copy_from_slice(&row_bytes);
    config.rows[..8].copy_from_slice(&rows);
    // SAFETY: the caller's promise; the configuration is one that the processor takes.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly)) }
}

/// Gives the tiles back, so that nobody has to save them.
///
/// # Safety
/// As for [`configure`].
pub(crate) unsafe fn release() {
    // SAFETY: the caller's promise.
    unsafe { asm!("tilerelease", options(nostack, nomem)) }
}

/// Thirty-two rows by two tiles.
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn square(call: &Operands<'_>, row: usize, tile: usize, sums: &mut Sums) {
    let stride = call.stride * size_of::<bf16>();
    // SAFETY: the caller's promise: all of it is inside the operands.
    unsafe {
        let [first, second] = weights::<2>(call, tile);
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            "tileloadd tmm6, [{b0} + {line}*1]",
            "tileloadd tmm4, [{a0} + {stride}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b1} + {line}*1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a1} + {stride}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 64", "add {a1}, 64", "add {b0}, 1024", "add {b1}, 1024",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{to} + {line}*1], tmm0",
            "tilestored [{to} + {line}*1 + 1024], tmm1",
            "tilestored [{to} + {line}*1 + 2048], tmm2",
            "tilestored [{to} + {line}*1 + 3072], tmm3",
            a0 = inout(reg) call.x.as_ptr().add(row * call.stride) => _,
            a1 = inout(reg) call.x.as_ptr().add((row + WIDTH) * call.stride) => _,
            b0 = inout(reg) first => _,
            b1 = inout(reg) second => _,
            steps = inout(reg) steps(call) => _,
            stride = in(reg) stride, line = in(reg) ROW_BYTES, to = in(reg) sums.0.as_mut_ptr(),
            options(nostack),
        );
        for half in 0..2 {
            for r in 0..WIDTH {
                let lanes = load::<2>(&sums.0[2 * half..], r);
                finish_row(call, row + half * WIDTH + r, tile, lanes);
            }
        }
    }
}

/// Asks for a step of one tile's weights, two steps ahead: with few rows they come straight from memory. Beyond the
/// end a prefetch does nothing.
macro_rules! ahead {
    ($from:literal) => {
        concat!(
            ahead!($from, "2048"),
            ahead!($from, "2112"),
            ahead!($from, "2176"),
            ahead!($from, "2240"),
            ahead!($from, "2304"),
            ahead!($from, "2368"),
            ahead!($from, "2432"),
            ahead!($from, "2496"),
            ahead!($from, "2560"),
            ahead!($from, "2624"),
            ahead!($from, "2688"),
            ahead!($from, "2752"),
            ahead!($from, "2816"),
            ahead!($from, "2880"),
            ahead!($from, "2944"),
            ahead!($from, "3008"),
        )
    };
    ($from:literal, $bytes:literal) => {
        concat!("prefetcht0 [{", $from, "} + ", $bytes, "]\n")
    };
}

/// Up to sixteen rows by four tiles.
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn four(call: &Operands<'_>, row: usize, rows: usize, tile: usize, sums: &mut Sums) {
    // SAFETY: as above.
    unsafe {
        let [w0, w1, w2, w3] = weights::<4>(call, tile);
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a} + {stride}*1]",
            ahead!("b0"),
            "tileloadd tmm6, [{b0} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            ahead!("b1"),
            "tileloadd tmm7, [{b1} + {line}*1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            ahead!("b2"),
            "tileloadd tmm6, [{b2} + {line}*1]",
            "tdpbf16ps tmm2, tmm4, tmm6",
            ahead!("b3"),
            "tileloadd tmm7, [{b3} + {line}*1]",
            "tdpbf16ps tmm3, tmm4, tmm7",
            "add {a}, 64", "add {b0}, 1024", "add {b1}, 1024", "add {b2}, 1024", "add {b3}, 1024",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{to} + {line}*1], tmm0",
            "tilestored [{to} + {line}*1 + 1024], tmm1",
            "tilestored [{to} + {line}*1 + 2048], tmm2",
            "tilestored [{to} + {line}*1 + 3072], tmm3",
            a = inout(reg) call.x.as_ptr().add(row * call.stride) => _,
            b0 = inout(reg) w0 => _, b1 = inout(reg) w1 => _, b2 = inout(reg) w2 => _, b3 = inout(reg) w3 => _,
            steps = inout(reg) steps(call) => _,
            stride = in(reg) call.stride * size_of::<bf16>(),
            line = in(reg) ROW_BYTES, to = in(reg) sums.0.as_mut_ptr(),
            options(nostack),
        );
        for r in 0..rows {
            finish_row(call, row + r, tile, load::<4>(&sums.0, r));
        }
    }
}

/// Up to sixteen rows by two tiles.
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn two(call: &Operands<'_>, row: usize, rows: usize, tile: usize, sums: &mut Sums) {
    // SAFETY: as above.
    unsafe {
        for (t, weights) in weights::<2>(call, tile).into_iter().enumerate() {
            single(call, row, weights, &mut sums.0[t]);
        }
        for r in 0..rows {
            finish_row(call, row + r, tile, load::<2>(&sums.0, r));
        }
    }
}

/// Up to sixteen rows by one tile.
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn one(call: &Operands<'_>, row: usize, rows: usize, tile: usize, sums: &mut Sums) {
    // SAFETY: as above.
    unsafe {
        let [weights] = weights::<1>(call, tile);
        single(call, row, weights, &mut sums.0[0]);
        for r in 0..rows {
            finish_row(call, row + r, tile, load::<1>(&sums.0, r));
        }
    }
}

unsafe fn single(call: &Operands<'_>, row: usize, weights: *const bf16, sums: &mut [[f32; WIDTH]; WIDTH]) {
    // SAFETY: as above.
    unsafe {
        asm!(
            "tilezero tmm0",
            "2:",
            "tileloadd tmm4, [{a} + {stride}*1]",
            "tileloadd tmm6, [{b} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "add {a}, 64", "add {b}, 1024",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{to} + {line}*1], tmm0",
            a = inout(reg) call.x.as_ptr().add(row * call.stride) => _,
            b = inout(reg) weights => _,
            steps = inout(reg) steps(call) => _,
            stride = in(reg) call.stride * size_of::<bf16>(), line = in(reg) ROW_BYTES, to = in(reg) sums.as_mut_ptr(),
            options(nostack),
        );
    }
}

/// One row of some tiles of sums.
///
/// # Safety
/// The caller has the instructions.
#[inline(always)]
pub(super) unsafe fn load<const T: usize>(sums: &[[[f32; WIDTH]; WIDTH]], row: usize) -> [Avx512; T] {
    // SAFETY: sixteen numbers each; the caller has the instructions.
    unsafe {
        let mut lanes = [Avx512::splat(0.0); T];
        for (lanes, sums) in lanes.iter_mut().zip(sums) {
            *lanes = Avx512::load(sums[row].as_ptr());
        }
        lanes
    }
}

/// Where the tiles' weights begin.
unsafe fn weights<const T: usize>(call: &Operands<'_>, tile: usize) -> [*const bf16; T] {
    // SAFETY: the caller's promise.
    call.tiles_at::<T>(tile).map(|id| unsafe { call.tiles.as_ptr().add(id * call.tile_len) })
}

fn steps(call: &Operands<'_>) -> usize {
    call.tile_len / (WIDTH * PAIRED_COLUMNS)
}

const _: () = assert!(STEP_BYTES == WIDTH * PAIRED_COLUMNS * size_of::<bf16>());
