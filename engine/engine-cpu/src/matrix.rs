//! Weights, repacked so that sixteen outputs lie side by side, and kept in the type they were stored in.

use engine_backend::{DType, Error, Shape, Source};
use half::{bf16, f16};

use crate::lanes::{Element, WIDTH};

/// A weight matrix.
///
/// Tile `t` holds rows `16 t .. 16 t + 16` column by column: `[tile][column][row in tile]`. The last tile is filled
/// up with zeros.
#[derive(Debug)]
pub struct Matrix {
    pub(crate) shape: Shape,
    pub(crate) tiles: Tiles,
}

/// The numbers, by type.
#[derive(Debug)]
pub(crate) enum Tiles {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Matrix {
    pub(crate) fn of(source: &Source<'_>) -> Result<Matrix, Error> {
        check(source)?;
        let shape = source.shape;
        let tiles = match source.dtype() {
            DType::F32 => Tiles::F32(pack(source, 0.0, |number| number)),
            DType::F16 => Tiles::F16(pack(source, f16::ZERO, f16::from_f32)),
            DType::Bf16 => Tiles::Bf16(pack(source, bf16::ZERO, bf16::from_f32)),
            // No product reads these blocks yet: f32 holds every number they can.
            DType::Q8_0
            | DType::Q4_0
            | DType::Q4_1
            | DType::Q5_0
            | DType::Q5_1
            | DType::Q4K
            | DType::Q5K
            | DType::Q6K
            | DType::Int4 { .. } => Tiles::F32(pack(source, 0.0, |number| number)),
        };
        Ok(Matrix { shape, tiles })
    }

    /// Copies one row out, as f32.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        match &self.tiles {
            Tiles::F32(tiles) => self.row_of(tiles, row, out),
            Tiles::F16(tiles) => self.row_of(tiles, row, out),
            Tiles::Bf16(tiles) => self.row_of(tiles, row, out),
        }
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

fn pack<E: Element>(source: &Source<'_>, zero: E, narrow: impl Fn(f32) -> E) -> Vec<E> {
    let Shape { rows, columns } = source.shape;
    let mut tiles = vec![zero; rows.next_multiple_of(WIDTH) * columns];
    let numbers = source.parts.iter().flat_map(|part| part.read_f32());
    // Narrowing gives back exactly what was stored: widening loses nothing.
    for (index, number) in numbers.enumerate() {
        let (row, column) = (index / columns, index % columns);
        tiles[(row / WIDTH * columns + column) * WIDTH + row % WIDTH] = narrow(number);
    }
    tiles
}
