//! The two products of a stretch by AMX: sixteen rows by sixteen keys, and by sixteen dimensions of the values.
//!
//! Rows that do not fill a tile go along: there is room for them, and nobody reads what becomes of them.

use std::arch::asm;

use engine_backend::KvShape;
use half::bf16;

use crate::lanes::WIDTH;
use crate::product::{configure_tiles, release_tiles};

/// Dimensions that go together.
const DIMS: usize = 64;
/// Dimensions of keys in a step.
const KEY_DIMS: usize = 32;
/// Tokens of values in a step.
const VALUE_TOKENS: usize = 16;
const LINE: usize = 64;

/// Whether a cache's blocks are made of whole tiles.
pub(super) fn fits(shape: KvShape) -> bool {
    shape.heads.dim.is_multiple_of(DIMS) && shape.block_tokens.is_multiple_of(VALUE_TOKENS)
}

/// Makes tiles ready on this thread: sums (0–3), queries (4) by keys (6), shares (5) by values (7).
///
/// # Safety
/// The processor has AMX and the process may use it; [`end`] follows.
pub(super) unsafe fn begin() {
    const ROWS: u8 = WIDTH as u8;
    const BYTES: u16 = LINE as u16;
    let rows = [ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS / 2];
    let bytes = [BYTES, BYTES, BYTES, BYTES, BYTES, BYTES / 2, BYTES, BYTES];
    // SAFETY: the caller's promise.
    unsafe { configure_tiles(rows, bytes) }
}

/// # Safety
/// [`begin`] came before.
pub(super) unsafe fn end() {
    // SAFETY: the caller's promise.
    unsafe { release_tiles() }
}

/// Sixteen rows' scores with up to four times sixteen keys, whose scores lie side by side at `to`.
///
/// # Safety
/// All of it is inside the operands: `dim` numbers in each query, pairs of dimensions `key_stride` bytes apart, rows of
/// scores `to_stride` bytes apart.
pub(super) unsafe fn score(
    queries: *const bf16,
    dim: usize,
    (keys, key_stride): (&[*const bf16], usize),
    (to, to_stride): (*mut f32, usize),
) {
    let (steps, key_step) = (dim / KEY_DIMS, key_stride * KEY_DIMS / 2);
    // SAFETY: the caller's promise; tiles are ready.
    unsafe {
        if let &[first, second, third, fourth] = keys {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{queries} + {query_stride}*1]",
                "tileloadd tmm6, [{b0} + {key_stride}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm6, [{b1} + {key_stride}*1]",
                "tdpbf16ps tmm1, tmm4, tmm6",
                "tileloadd tmm6, [{b2} + {key_stride}*1]",
                "tdpbf16ps tmm2, tmm4, tmm6",
                "tileloadd tmm6, [{b3} + {key_stride}*1]",
                "tdpbf16ps tmm3, tmm4, tmm6",
                "add {queries}, 64",
                "add {b0}, {key_step}", "add {b1}, {key_step}", "add {b2}, {key_step}", "add {b3}, {key_step}",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{to} + {to_stride}*1], tmm0",
                "tilestored [{to} + {to_stride}*1 + 64], tmm1",
                "tilestored [{to} + {to_stride}*1 + 128], tmm2",
                "tilestored [{to} + {to_stride}*1 + 192], tmm3",
                queries = inout(reg) queries => _,
                b0 = inout(reg) first => _, b1 = inout(reg) second => _,
                b2 = inout(reg) third => _, b3 = inout(reg) fourth => _,
                steps = inout(reg) steps => _,
                query_stride = in(reg) dim * size_of::<bf16>(), key_stride = in(reg) key_stride,
                key_step = in(reg) key_step, to = in(reg) to, to_stride = in(reg) to_stride,
                options(nostack),
            );
            return;
        }
        for (at, keys) in keys.iter().enumerate() {
            asm!(
                "tilezero tmm0",
                "2:",
                "tileloadd tmm4, [{queries} + {query_stride}*1]",
                "tileloadd tmm6, [{keys} + {key_stride}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "add {queries}, 64", "add {keys}, {key_step}",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{to} + {to_stride}*1], tmm0",
                queries = inout(reg) queries => _, keys = inout(reg) *keys => _, steps = inout(reg) steps => _,
                query_stride = in(reg) dim * size_of::<bf16>(), key_stride = in(reg) key_stride,
                key_step = in(reg) key_step, to = in(reg) to.add(at * WIDTH), to_stride = in(reg) to_stride,
                options(nostack),
            );
        }
    }
}

/// Sixteen rows' sums of 64 dimensions of values.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) at: *mut f32,
    /// Bytes from row to row.
    pub(super) stride: usize,
}

impl Sums {
    /// # Safety
    /// They are inside their memory, and [`begin`] came before.
    pub(super) unsafe fn load(self) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "tileloadd tmm0, [{at} + {stride}*1]",
                "tileloadd tmm1, [{at} + {stride}*1 + 64]",
                "tileloadd tmm2, [{at} + {stride}*1 + 128]",
                "tileloadd tmm3, [{at} + {stride}*1 + 192]",
                at = in(reg) self.at, stride = in(reg) self.stride,
                options(nostack, readonly),
            );
        }
    }

    /// Adds the values of sixteen tokens by their shares; strides are in bytes, the values' from pair to pair.
    ///
    /// # Safety
    /// [`Sums::load`] came before; both are inside their memory.
    pub(super) unsafe fn add(shares: (*const bf16, usize), values: (*const bf16, usize)) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "tileloadd tmm5, [{shares} + {share_stride}*1]",
                "tileloadd tmm7, [{values} + {value_stride}*1]",
                "tdpbf16ps tmm0, tmm5, tmm7",
                "tileloadd tmm7, [{values} + {value_stride}*1 + 64]",
                "tdpbf16ps tmm1, tmm5, tmm7",
                "tileloadd tmm7, [{values} + {value_stride}*1 + 128]",
                "tdpbf16ps tmm2, tmm5, tmm7",
                "tileloadd tmm7, [{values} + {value_stride}*1 + 192]",
                "tdpbf16ps tmm3, tmm5, tmm7",
                shares = in(reg) shares.0, share_stride = in(reg) shares.1,
                values = in(reg) values.0, value_stride = in(reg) values.1,
                options(nostack, readonly),
            );
        }
    }

    /// # Safety
    /// As for [`Sums::load`].
    pub(super) unsafe fn store(self) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "tilestored [{at} + {stride}*1], tmm0",
                "tilestored [{at} + {stride}*1 + 64], tmm1",
                "tilestored [{at} + {stride}*1 + 128], tmm2",
                "tilestored [{at} + {stride}*1 + 192], tmm3",
                at = in(reg) self.at, stride = in(reg) self.stride,
                options(nostack),
            );
        }
    }
}
