//! Covers a product with tiles of sums that fit the registers.

use std::ops::Range;

use super::finish::{Finish, finish_row};
use crate::lanes::{Lanes, WIDTH};
use crate::meeting::{MeetingIn, meet};
use crate::threads::Shared;

/// Tiles of weights that threads take at once.
pub(super) const PANEL_TILES: usize = 4;

/// One product's operands.
pub(super) struct Call<'a, W, F> {
    pub x: &'a [F],
    /// From one row of x to the next.
    pub stride: usize,
    pub tiles: &'a [W],
    pub tile_len: usize,
    /// Of the inner dimension.
    pub steps: usize,
    pub bias: Option<&'a [f32]>,
    pub out: Shared<f32>,
    pub rows: usize,
    /// Of `out`.
    pub columns: usize,
    /// Rows of the weight matrix.
    pub outputs: usize,
    pub finish: Finish,
}

impl<W, F> Call<'_, W, F> {
    /// The same without the first rows, for weights that find x's rows themselves.
    pub(super) fn rows_from(&self, first: usize) -> Self {
        // SAFETY: the rows that are left are inside `out`.
        let out = unsafe { self.out.from(first * self.columns) };
        Call { out, rows: self.rows - first, ..*self }
    }

    /// The weights' tiles that T sums belong to: neighbours, or gates and then their ups.
    #[inline(always)]
    pub(super) fn tiles_at<const T: usize>(&self, tile: usize) -> [usize; T] {
        let half = self.outputs / (2 * WIDTH);
        std::array::from_fn(|t| match self.finish {
            Finish::Gate(_) if t < T / 2 => tile + t,
            Finish::Gate(_) => half + tile + t - T / 2,
            Finish::Store | Finish::Add => tile + t,
        })
    }
}

/// Covers a range of out's tiles and all rows: four tiles by WIDE rows, or two by NARROW where there are few rows.
///
/// # Safety
/// The operands have the sizes that the call says, `tiles` are inside `out` and nobody else's, and L's instructions exist.
#[inline(always)]
pub(super) unsafe fn walk<L: Lanes, M: MeetingIn<L>, const WIDE: usize, const NARROW: usize>(
    call: &Call<'_, M::Weight, M::Factor>,
    tiles: Range<usize>,
) {
    let per = PANEL_TILES / call.finish.tiles_of(PANEL_TILES);
    // A single row has no reuse to gain; more tiles at once keep the adders busy instead.
    let most = if call.rows == 1 || (WIDE > 1 && call.rows > NARROW) { 4 } else { 2 };
    let mut tile = tiles.start;
    while tile < tiles.end {
        let mut sums = most;
        while sums > per && sums / per > tiles.end - tile {
            sums /= 2;
        }
        // SAFETY: the caller's promise; the tiles are inside the range.
        unsafe {
            match sums {
                4 => panel::<L, M, WIDE, 4>(call, tile),
                2 => panel::<L, M, NARROW, 2>(call, tile),
                _ => panel::<L, M, NARROW, 1>(call, tile),
            }
        }
        tile += sums / per;
    }
}

#[inline(always)]
unsafe fn panel<L: Lanes, M: MeetingIn<L>, const ROWS: usize, const TILES: usize>(
    call: &Call<'_, M::Weight, M::Factor>,
    tile: usize,
) {
    let mut row = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while call.rows - row >= ROWS {
            sums::<L, M, ROWS, TILES>(call, row, tile);
            row += ROWS;
        }
        while ROWS > 4 && call.rows - row >= 4 {
            sums::<L, M, 4, TILES>(call, row, tile);
            row += 4;
        }
        while ROWS > 2 && call.rows - row >= 2 {
            sums::<L, M, 2, TILES>(call, row, tile);
            row += 2;
        }
        while row < call.rows {
            sums::<L, M, 1, TILES>(call, row, tile);
            row += 1;
        }
    }
}

/// ROWS rows times TILES · 16 outputs.
#[inline(always)]
unsafe fn sums<L: Lanes, M: MeetingIn<L>, const ROWS: usize, const TILES: usize>(
    call: &Call<'_, M::Weight, M::Factor>,
    row: usize,
    tile: usize,
) {
    let ids = call.tiles_at::<TILES>(tile);
    // SAFETY: `row + ROWS` and the tiles are inside the operands.
    unsafe {
        let x = call.x.as_ptr().add(row * call.stride);
        let weights = ids.map(|id| call.tiles.as_ptr().add(id * call.tile_len));
        let zeros = [[L::splat(0.0); TILES]; ROWS];
        let sums = meet::<L, M, ROWS, TILES>(zeros, (x, call.stride), (weights, M::STEP * WIDTH), call.steps);
        for (r, sums) in sums.into_iter().enumerate() {
            finish_row(call, row + r, tile, sums);
        }
    }
}
