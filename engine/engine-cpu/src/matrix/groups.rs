//! Weights of four or eight bits, in groups of 32 columns that share a scale.
//!
//! A weight is `scale * (number - zero)`, or `scale * number + minimum` where files have minima. Whatever format a file
//! has, it is brought into this one: a step of a product takes four columns of sixteen rows.

use engine_backend::{DType, Error, Shape, Source, SourcePart};
use half::f16;

use super::pack::part_of_row;
use crate::aligned::Aligned;
use crate::lanes::WIDTH;
use crate::threads::{Shared, Threads};

/// Columns in a group.
pub(crate) const GROUP: usize = 32;
/// Columns that one step takes.
pub(crate) const QUAD: usize = 4;

const WEIGHTS: &str = "a weight matrix";

/// How wide numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// Two in a byte: the low halves are the first sixteen columns of a group, the high halves the others.
    Four,
    /// One in a byte.
    Eight,
}

impl Width {
    /// Bytes of sixteen rows of a group.
    pub(crate) const fn group_bytes(self) -> usize {
        match self {
            Width::Four => WIDTH * GROUP / 2,
            Width::Eight => WIDTH * GROUP,
        }
    }
}

/// A matrix of them.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) width: Width,
    /// `[tile][group][quad of columns][row in tile][column in quad]`; two quads share bytes if numbers have four bits.
    pub(crate) numbers: Aligned<u8>,
    /// `[tile][group][row in tile]`.
    pub(crate) scales: Aligned<f16>,
    pub(crate) zero: Zero,
    /// In a row.
    pub(crate) count: usize,
}

/// Which number means zero.
#[derive(Debug)]
pub(crate) enum Zero {
    /// The same in all groups.
    At(u8),
    /// Given by what is added, placed as the scales.
    Minima(Aligned<f16>),
}

impl Zero {
    /// What is taken from every number: nothing where minima say it.
    pub(crate) fn number(&self) -> u8 {
        match self {
            Zero::At(zero) => *zero,
            Zero::Minima(_) => 0,
        }
    }
}

/// Whether a matrix of such parts can be kept in groups.
pub(super) fn holds(source: &Source<'_>) -> bool {
    let kept = |part: &SourcePart<'_>| !matches!(part.dtype, DType::F32 | DType::F16 | DType::Bf16 | DType::Q6K);
    source.parts.iter().all(kept) && source.shape.columns.is_multiple_of(GROUP)
}

impl Groups {
    pub(super) fn of(source: &Source<'_>, threads: &Threads) -> Result<Groups, Error> {
        let Shape { rows, columns } = source.shape;
        let (tiles, count) = (rows.div_ceil(WIDTH), columns / GROUP);
        let four =
            |part: &SourcePart<'_>| matches!(part.dtype, DType::Q4_0 | DType::Q4_1 | DType::Q4K | DType::Int4 { .. });
        let width = if source.parts.iter().all(four) { Width::Four } else { Width::Eight };
        let zero = source.parts.first().and_then(|first| zero_of(first.dtype));
        let zero = zero.filter(|_| source.parts.iter().all(|part| part.dtype == source.parts[0].dtype));
        let mut numbers = Aligned::zeroed(tiles * count * width.group_bytes(), WEIGHTS)?;
        let mut scales = Aligned::zeroed(tiles * count * WIDTH, WEIGHTS)?;
        let mut minima = Aligned::zeroed(if zero.is_some() { 0 } else { scales.len() }, WEIGHTS)?;
        let to = (Shared::of(&mut numbers), Shared::of(&mut scales), Shared::of(&mut minima));
        threads.split(tiles, 1, |range| {
            for row in range.start * WIDTH..rows.min(range.end * WIDTH) {
                let part = part_of_row(source, row);
                let (tile, lane) = (row / WIDTH, row % WIDTH);
                for group in 0..count {
                    let mut found = [0; GROUP];
                    let (scale, add) = read_group(&part, group, &mut found);
                    let place = tile * count + group;
                    // SAFETY: a tile's rows are one item, so one thread's.
                    unsafe {
                        *to.1.at(place * WIDTH + lane) = f16::from_f32(scale);
                        if zero.is_none() {
                            *to.2.at(place * WIDTH + lane) = f16::from_f32(add);
                        }
                        let bytes = to.0.from(place * width.group_bytes());
                        for (column, number) in found.into_iter().enumerate() {
                            let (at, shift) = byte_of(width, lane, column);
                            *bytes.at(at) |= number << shift;
                        }
                    }
                }
            }
        });
        let zero = zero.map_or(Zero::Minima(minima), Zero::At);
        Ok(Groups { width, numbers, scales, zero, count })
    }

    /// Copies one row out, as f32.
    pub(super) fn row(&self, row: usize, out: &mut [f32]) {
        let (tile, lane) = (row / WIDTH, row % WIDTH);
        for (group, out) in out.chunks_exact_mut(GROUP).enumerate() {
            let place = tile * self.count + group;
            let scale = self.scales[place * WIDTH + lane].to_f32();
            let add = match &self.zero {
                Zero::At(zero) => -scale * f32::from(*zero),
                Zero::Minima(minima) => minima[place * WIDTH + lane].to_f32(),
            };
            let bytes = &self.numbers[place * self.width.group_bytes()..];
            for (column, out) in out.iter_mut().enumerate() {
                let (at, shift) = byte_of(self.width, lane, column);
                let mask = if self.width == Width::Four { 15 } else { 255 };
                *out = scale * f32::from(bytes[at] >> shift & mask) + add;
            }
        }
    }
}

/// Where a group keeps a row's column: which byte, and how far up.
const fn byte_of(width: Width, lane: usize, column: usize) -> (usize, usize) {
    let (column, shift) = match width {
        Width::Four => (column % (GROUP / 2), column / (GROUP / 2) * 4),
        Width::Eight => (column, 0),
    };
    (column / QUAD * WIDTH * QUAD + lane * QUAD + column % QUAD, shift)
}

/// The number that means zero, in formats where it is always the same.
const fn zero_of(dtype: DType) -> Option<u8> {
    match dtype {
        DType::Q8_0 => Some(128),
        DType::Q4_0 => Some(8),
        DType::Q5_0 => Some(16),
        _ => None,
    }
}

/// A group of a row: its numbers, and what makes weights of them (`scale * number + add`).
fn read_group(part: &SourcePart<'_>, group: usize, numbers: &mut [u8; GROUP]) -> (f32, f32) {
    let (block_numbers, block_bytes) = part.dtype.block();
    let (block, within) = (group * GROUP / block_numbers, group * GROUP % block_numbers / GROUP);
    let block = &part.bytes[block * block_bytes..][..block_bytes];
    let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    match part.dtype {
        DType::Q8_0 => {
            numbers.iter_mut().zip(&block[2..]).for_each(|(number, byte)| *number = byte ^ 0x80);
            (half(0), -128.0 * half(0))
        }
        DType::Q4_0 => {
            halves(&block[2..], numbers);
            (half(0), -8.0 * half(0))
        }
        DType::Q4_1 => {
            halves(&block[4..], numbers);
            (half(0), half(2))
        }
        DType::Q5_0 => {
            halves(&block[6..], numbers);
            fifth_bits(&block[2..6], numbers);
            (half(0), -16.0 * half(0))
        }
        DType::Q5_1 => {
            halves(&block[8..], numbers);
            fifth_bits(&block[4..8], numbers);
            (half(0), half(2))
        }
        DType::Q4K => k_group(block, within, &[], &block[16..], numbers),
        DType::Q5K => k_group(block, within, &block[16..48], &block[48..], numbers),
        DType::Int4 { .. } => {
            halves(&block[4 + within * GROUP / 2..], numbers);
            (half(0), -half(0) * f32::from(block[2]))
        }
        DType::F32 | DType::F16 | DType::Bf16 | DType::Q6K => unreachable!("`holds` left these out"),
    }
}

/// The low halves, then the high ones.
fn halves(bytes: &[u8], numbers: &mut [u8; GROUP]) {
    let (low, high) = numbers.split_at_mut(GROUP / 2);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
}

fn fifth_bits(bytes: &[u8], numbers: &mut [u8; GROUP]) {
    for (index, number) in numbers.iter_mut().enumerate() {
        *number |= (bytes[index / 8] >> (index % 8) & 1) << 4;
    }
}

/// One of the eight groups of a K block. Pairs of groups share 32 bytes, the first in the low halves.
fn k_group(block: &[u8], group: usize, fifth: &[u8], low: &[u8], numbers: &mut [u8; GROUP]) -> (f32, f32) {
    let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    for (at, number) in numbers.iter_mut().enumerate() {
        let high = fifth.get(at).map_or(0, |bits| (bits >> group & 1) << 4);
        *number = low[group / 2 * GROUP + at] >> (4 * (group % 2)) & 15 | high;
    }
    let packed = &block[4..16];
    let (scale, minimum) = match group {
        0..4 => (packed[group] & 63, packed[group + 4] & 63),
        _ => {
            let scale = packed[group + 4] & 15 | packed[group - 4] >> 6 << 4;
            (scale, packed[group + 4] >> 4 | packed[group] >> 6 << 4)
        }
    };
    (half(0) * f32::from(scale), -half(2) * f32::from(minimum))
}
