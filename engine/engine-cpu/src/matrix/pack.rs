//! Lays weights out in tiles, straight from the mapped file, on all threads.

use engine_backend::{DType, Error, Shape, Source, SourcePart};
use half::{bf16, f16};

use super::PAIRED_COLUMNS;
use crate::aligned::{Aligned, Plain};
use crate::lanes::{Element, WIDTH};
use crate::threads::{Shared, Threads};

const WEIGHTS: &str = "a weight matrix";

/// A type that numbers are kept in as they were stored.
pub(super) trait Kept: Element {
    const DTYPE: DType;

    fn of_bytes(bytes: &[u8]) -> Self;
    fn narrow(number: f32) -> Self;
}

impl Kept for f32 {
    const DTYPE: DType = DType::F32;

    fn of_bytes(bytes: &[u8]) -> f32 {
        bytes.try_into().map_or(f32::NAN, f32::from_le_bytes)
    }

    fn narrow(number: f32) -> f32 {
        number
    }
}

impl Kept for f16 {
    const DTYPE: DType = DType::F16;

    fn of_bytes(bytes: &[u8]) -> f16 {
        bytes.try_into().map_or(f16::NAN, f16::from_le_bytes)
    }

    fn narrow(number: f32) -> f16 {
        f16::from_f32(number)
    }
}

/// `[tile][column][row in tile]`.
pub(super) fn columns<E: Kept>(source: &Source<'_>, threads: &Threads) -> Result<Aligned<E>, Error> {
    let Shape { rows, columns } = source.shape;
    tiles(rows, columns * WIDTH, threads, |row, tile: &mut [E]| {
        let to = tile[row % WIDTH..].iter_mut().step_by(WIDTH);
        let part = part_of_row(source, row);
        match part.dtype == E::DTYPE {
            true => to.zip(part.bytes.chunks_exact(size_of::<E>())).for_each(|(to, from)| *to = E::of_bytes(from)),
            // Narrowing gives back exactly what was stored: parts of different types are kept as f32.
            false => to.zip(part.read_f32()).for_each(|(to, from)| *to = E::narrow(from)),
        }
    })
}

/// `[tile][column / 2][row in tile][column % 2]`.
pub(super) fn pairs(source: &Source<'_>, threads: &Threads) -> Result<Aligned<bf16>, Error> {
    let Shape { rows, columns } = source.shape;
    let columns = columns.next_multiple_of(PAIRED_COLUMNS);
    tiles(rows, columns * WIDTH, threads, |row, tile: &mut [bf16]| {
        let at = row % WIDTH * 2;
        let part = part_of_row(source, row);
        let (to, _) = tile.as_chunks_mut::<{ 2 * WIDTH }>();
        if part.dtype != DType::Bf16 {
            let numbers = part.read_f32().map(bf16::from_f32).enumerate();
            return numbers.for_each(|(column, number)| to[column / 2][at + column % 2] = number);
        }
        let bytes = part.bytes;
        let (from, odd) = bytes.as_chunks::<4>();
        for (to, &[a, b, c, d]) in to.iter_mut().zip(from) {
            to[at] = bf16::from_le_bytes([a, b]);
            to[at + 1] = bf16::from_le_bytes([c, d]);
        }
        if let &[a, b] = odd {
            to[from.len()][at] = bf16::from_le_bytes([a, b]);
        }
    })
}

/// Makes tiles of sixteen rows, `tile_len` numbers each, and has `fill` put every row into its tile.
fn tiles<E: Plain>(
    rows: usize,
    tile_len: usize,
    threads: &Threads,
    fill: impl Fn(usize, &mut [E]) + Sync,
) -> Result<Aligned<E>, Error> {
    let count = rows.div_ceil(WIDTH);
    let mut packed = Aligned::zeroed(count * tile_len, WEIGHTS)?;
    let shared = Shared::of(&mut packed);
    threads.split(count, 4, |range| {
        for tile in range {
            // SAFETY: each tile is one item, so one thread's.
            let to = unsafe { shared.part(tile * tile_len..(tile + 1) * tile_len) };
            (tile * WIDTH..rows.min((tile + 1) * WIDTH)).for_each(|row| fill(row, to));
        }
    });
    Ok(packed)
}

/// One row of the joined parts.
pub(super) fn part_of_row<'a>(source: &Source<'a>, row: usize) -> SourcePart<'a> {
    let mut start = row * source.shape.columns;
    for part in &source.parts {
        let len = part.len();
        if start < len {
            let (numbers, bytes) = part.dtype.block();
            let bytes = &part.bytes[start / numbers * bytes..][..source.shape.columns / numbers * bytes];
            return SourcePart { dtype: part.dtype, bytes };
        }
        start -= len;
    }
    unreachable!("`check` counted the rows of all parts")
}
