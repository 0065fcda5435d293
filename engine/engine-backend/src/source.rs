//! Numbers as they lie in a checkpoint file: a type, a shape, little-endian bytes.

use crate::decode::decode;
use crate::{DType, Shape};

/// One stored tensor.
#[derive(Clone, Copy, Debug)]
pub struct SourcePart<'a> {
    /// How its numbers are stored.
    pub dtype: DType,
    /// Row-major, little-endian, whole blocks; a block never spans two rows of a matrix.
    pub bytes: &'a [u8],
}

impl<'a> SourcePart<'a> {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        let (numbers, bytes) = self.dtype.block();
        self.bytes.len() / bytes * numbers
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no number is a NaN or an infinity. Blocks are judged by their scales.
    pub fn is_finite(&self) -> bool {
        let halves = |at: &[usize]| {
            let blocks = self.bytes.chunks_exact(self.dtype.block().1);
            blocks.fold(true, |finite, block| {
                at.iter().fold(finite, |finite, at| finite & is_finite_f16([block[*at], block[at + 1]]))
            })
        };
        match self.dtype {
            DType::F32 => {
                let numbers = self.bytes.as_chunks::<4>().0.iter();
                numbers.fold(true, |finite, bytes| finite & f32::from_le_bytes(*bytes).is_finite())
            }
            DType::Bf16 => {
                let numbers = self.bytes.as_chunks::<2>().0.iter();
                numbers.fold(true, |finite, bytes| finite & (u16::from_le_bytes(*bytes) & 0x7f80 != 0x7f80))
            }
            DType::F16 => {
                let numbers = self.bytes.as_chunks::<2>().0.iter();
                numbers.fold(true, |finite, bytes| finite & is_finite_f16(*bytes))
            }
            DType::Q8_0 | DType::Q4_0 | DType::Q5_0 | DType::Int4 { .. } => halves(&[0]),
            DType::Q4_1 | DType::Q5_1 | DType::Q4K | DType::Q5K => halves(&[0, 2]),
            DType::Q6K => halves(&[208]),
        }
    }

    /// Widens every number to f32, in order.
    pub fn read_f32(&self) -> impl Iterator<Item = f32> + 'a {
        let (numbers, bytes) = self.dtype.block();
        // Plain numbers are decoded some at a time too, so that an iteration costs little more than a copy.
        let blocks = NUMBERS_AT_ONCE.div_ceil(numbers);
        let pieces = self.bytes[..self.bytes.len() / bytes * bytes].chunks(blocks * bytes);
        Numbers { dtype: self.dtype, pieces, decoded: Vec::with_capacity(blocks * numbers), next: 0 }
    }
}

const NUMBERS_AT_ONCE: usize = 256;

/// Whether not all bits of the exponent are set.
fn is_finite_f16(bytes: [u8; 2]) -> bool {
    u16::from_le_bytes(bytes) & 0x7c00 != 0x7c00
}

/// A part's numbers, widened.
struct Numbers<'a> {
    dtype: DType,
    /// Whole blocks.
    pieces: std::slice::Chunks<'a, u8>,
    decoded: Vec<f32>,
    /// Of the decoded ones.
    next: usize,
}

impl Iterator for Numbers<'_> {
    type Item = f32;

    #[inline]
    fn next(&mut self) -> Option<f32> {
        if self.next == self.decoded.len() {
            let piece = self.pieces.next()?;
            self.decoded.clear();
            self.next = 0;
            piece.chunks_exact(self.dtype.block().1).for_each(|block| decode(self.dtype, block, &mut self.decoded));
        }
        let number = self.decoded.get(self.next).copied();
        self.next += 1;
        number
    }
}

/// A parameter to hand to a backend: stored tensors with equal columns, one below the other.
///
/// Several parts make one parameter when a model joins projections that read the same input (query, key, value).
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// Of the whole.
    pub shape: Shape,
    /// From the top row down; together they have `shape.rows * shape.columns` numbers.
    pub parts: Vec<SourcePart<'a>>,
}

impl Source<'_> {
    /// The type that every part has, or f32 if they differ.
    pub fn dtype(&self) -> DType {
        let first = self.parts.first().map_or(DType::F32, |part| part.dtype);
        if self.parts.iter().all(|part| part.dtype == first) { first } else { DType::F32 }
    }
}

#[cfg(test)]
mod tests;
