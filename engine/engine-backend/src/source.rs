//! Numbers as they lie in a checkpoint file: a type, a shape, little-endian bytes.

use half::{bf16, f16};

use crate::Shape;

/// How one number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an IEEE single.
    Bf16,
}

impl DType {
    /// Bytes one number takes.
    pub const fn bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::Bf16 => 2,
        }
    }
}

/// One stored tensor.
#[derive(Clone, Copy, Debug)]
pub struct SourcePart<'a> {
    /// How its numbers are stored.
    pub dtype: DType,
    /// Row-major, little-endian; `rows * columns * dtype.bytes()` bytes.
    pub bytes: &'a [u8],
}

impl SourcePart<'_> {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.bytes()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Widens every number to f32, in order.
    pub fn read_f32(&self) -> impl Iterator<Item = f32> + '_ {
        self.bytes.chunks_exact(self.dtype.bytes()).map(|bytes| match (self.dtype, bytes) {
            (DType::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (DType::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
            (DType::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
            _ => unreachable!("chunks_exact hands out chunks of the type's size"),
        })
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
