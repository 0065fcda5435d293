//! Weights, repacked so that sixteen outputs lie side by side, and kept in the type they were stored in.

mod groups;
mod pack;

use engine_backend::{DType, Error, Shape, Source};
use half::{bf16, f16};

use crate::aligned::Aligned;
use crate::lanes::{Element, WIDTH};
use crate::product::Activations;
use crate::threads::Threads;

pub(crate) use groups::{GROUP, Groups, QUAD, Width, Zero};

/// Columns of bf16 are filled up with zeros to a multiple of this: what one step of the widest instruction takes.
pub(crate) const PAIRED_COLUMNS: usize = 32;

/// A weight matrix.
///
/// Tile `t` holds rows `16 t .. 16 t + 16`. The last tile is filled up with zeros.
#[derive(Debug)]
pub struct Matrix {
    pub(crate) shape: Shape,
    pub(crate) tiles: Tiles,
}

/// The numbers, by type.
#[derive(Debug)]
pub(crate) enum Tiles {
    /// Column by column: `[tile][column][row in tile]`.
    F32(Aligned<f32>),
    /// The same.
    F16(Aligned<f16>),
    /// In pairs of columns: `[tile][column / 2][row in tile][column % 2]`.
    Bf16(Aligned<bf16>),
    /// Four or eight bits.
    Groups(Groups),
}

impl Matrix {
    pub(crate) fn of(source: &Source<'_>, activations: Activations, threads: &Threads) -> Result<Matrix, Error> {
        check(source)?;
        let tiles = match source.dtype() {
            _ if activations == Activations::Rounded && groups::holds(source) => {
                Tiles::Groups(Groups::of(source, threads)?)
            }
            // Groups of sixteen columns: a bf16 differs from these by less than they from what they stand for.
            _ if activations == Activations::Rounded && source.parts.iter().any(|part| !part.dtype.is_plain()) => {
                Tiles::Bf16(pack::pairs(source, threads)?)
            }
            DType::F32 => Tiles::F32(pack::columns(source, threads)?),
            DType::F16 => Tiles::F16(pack::columns(source, threads)?),
            DType::Bf16 => Tiles::Bf16(pack::pairs(source, threads)?),
            // Exact, f32 holds every number that a block can.
            _ => Tiles::F32(pack::columns(source, threads)?),
        };
        Ok(Matrix { shape: source.shape, tiles })
    }

    /// Copies one row out, as f32.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        match &self.tiles {
            Tiles::F32(tiles) => self.row_of(tiles, row, out),
            Tiles::F16(tiles) => self.row_of(tiles, row, out),
            Tiles::Groups(groups) => groups.row(row, out),
            Tiles::Bf16(tiles) => {
                let tile = &tiles[row / WIDTH * WIDTH * self.columns_paired()..];
                let pairs = tile.chunks_exact(2 * WIDTH).map(|pairs| &pairs[row % WIDTH * 2..][..2]);
                out.chunks_mut(2).zip(pairs).for_each(|(out, pair)| {
                    out.iter_mut().zip(pair).for_each(|(out, number)| *out = number.to_f32());
                });
            }
        }
    }

    /// Columns as bf16 are stored.
    pub(crate) fn columns_paired(&self) -> usize {
        self.shape.columns.next_multiple_of(PAIRED_COLUMNS)
    }

    fn row_of<E: Element>(&self, tiles: &[E], row: usize, out: &mut [f32]) {
        let start = row / WIDTH * WIDTH * self.shape.columns + row % WIDTH;
        let numbers = tiles[start..].iter().step_by(WIDTH);
        out.iter_mut().zip(numbers).for_each(|(out, number)| *out = number.widen());
    }
}

/// That the parts are as long as the shape says.
pub(crate) fn check(source: &Source<'_>) -> Result<(), Error> {
    let Source { shape, parts } = source;
    let found: usize = parts.iter().map(|part| part.len()).sum();
    let whole_rows = parts.iter().all(|part| part.len().is_multiple_of(shape.columns.max(1)));
    let vector = shape.rows == 1;
    if found != shape.len() || !(whole_rows || vector) || shape.is_empty() {
        return Err(Error::BadSource(format!("{found} numbers for shape {shape:?}")));
    }
    Ok(())
}
