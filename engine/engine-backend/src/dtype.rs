//! How numbers lie in a checkpoint: one by one, or in blocks that share a scale.

use crate::encode::encode;

/// How numbers are stored.
///
/// The formats from `Q8_0` to `Q6K` are GGUF's, bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an IEEE single.
    Bf16,
    /// 32 numbers: an f16 scale, 32 i8.
    Q8_0,
    /// 32 numbers: an f16 scale, 16 bytes of two numbers (0–15, less 8). Byte `i` has number `i` in its low half and
    /// number `i + 16` in its high half.
    Q4_0,
    /// 32 numbers: an f16 scale, an f16 to add, 16 bytes as in [`Q4_0`](DType::Q4_0) (0–15).
    Q4_1,
    /// 32 numbers: an f16 scale, 32 fifth bits, 16 bytes as in [`Q4_0`](DType::Q4_0) (0–31, less 16).
    Q5_0,
    /// 32 numbers: an f16 scale, an f16 to add, 32 fifth bits, 16 bytes as in [`Q4_0`](DType::Q4_0) (0–31).
    Q5_1,
    /// 256 numbers in eight groups: two f16, twelve bytes of six-bit scales and minima, 128 bytes of two numbers.
    Q4K,
    /// The same with 32 bytes of fifth bits after the scales.
    Q5K,
    /// 256 numbers in sixteen groups: 128 bytes of low halves, 64 bytes of upper two bits, sixteen i8 scales, an f16.
    Q6K,
    /// A group of numbers of one row: an f16 scale, a byte with the zero point (0–16), an unused byte, then for each 32
    /// numbers 16 bytes as in [`Q4_0`](DType::Q4_0). A number is `scale * (0–15, less the zero point)`.
    ///
    /// No file has this layout: GPTQ's and AWQ's are brought into it while they load.
    Int4 {
        /// Numbers in a group; a multiple of 32.
        group: u16,
    },
}

/// Bytes before an [`DType::Int4`] group's numbers.
pub(crate) const INT4_HEAD_BYTES: usize = 4;

impl DType {
    /// The smallest piece that can be read by itself: how many numbers, in how many bytes.
    pub const fn block(self) -> (usize, usize) {
        match self {
            DType::F32 => (1, 4),
            DType::F16 | DType::Bf16 => (1, 2),
            DType::Q8_0 => (32, 34),
            DType::Q4_0 => (32, 18),
            DType::Q4_1 => (32, 20),
            DType::Q5_0 => (32, 22),
            DType::Q5_1 => (32, 24),
            DType::Q4K => (256, 144),
            DType::Q5K => (256, 176),
            DType::Q6K => (256, 210),
            DType::Int4 { group } => (group as usize, INT4_HEAD_BYTES + group as usize / 2),
        }
    }

    /// Bytes that so many numbers take; none if they are no whole number of blocks, or more than memory can have.
    pub const fn bytes_of(self, numbers: usize) -> Option<usize> {
        let (block_numbers, block_bytes) = self.block();
        if block_numbers == 0 || !numbers.is_multiple_of(block_numbers) {
            return None;
        }
        (numbers / block_numbers).checked_mul(block_bytes)
    }

    /// Rounds numbers to this type.
    ///
    /// # Panics
    /// If they are no whole number of blocks.
    pub fn encode(self, numbers: &[f32]) -> Vec<u8> {
        encode(self, numbers)
    }

    /// Whether each number is stored by itself.
    pub const fn is_plain(self) -> bool {
        matches!(self, DType::F32 | DType::F16 | DType::Bf16)
    }
}
