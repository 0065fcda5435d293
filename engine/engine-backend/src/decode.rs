//! Turns stored blocks back into numbers: the plain reading of each format that kernels are tested against.

use half::{bf16, f16};

use crate::DType;
use crate::dtype::INT4_HEAD_BYTES;

/// Appends a block's numbers to `out`.
///
/// # Panics
/// If `block` is not as long as [`DType::block`] says.
pub(crate) fn decode(dtype: DType, block: &[u8], out: &mut Vec<f32>) {
    assert_eq!(block.len(), dtype.block().1, "a whole block");
    match dtype {
        DType::F32 => out.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
        DType::F16 => out.push(half_at(block, 0)),
        DType::Bf16 => out.push(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
        DType::Q8_0 => q8_0(block, out),
        DType::Q4_0 => nibbles(&block[2..], half_at(block, 0), -8.0, 0.0, out),
        DType::Q4_1 => nibbles(&block[4..], half_at(block, 0), 0.0, half_at(block, 2), out),
        DType::Q5_0 => fifths(&block[2..], half_at(block, 0), -16.0, 0.0, out),
        DType::Q5_1 => fifths(&block[4..], half_at(block, 0), 0.0, half_at(block, 2), out),
        DType::Q4K => k_groups(block, &[], &block[16..], out),
        DType::Q5K => k_groups(block, &block[16..48], &block[48..], out),
        DType::Q6K => q6_k(block, out),
        DType::Int4 { .. } => {
            let (scale, zero) = (half_at(block, 0), f32::from(block[2]));
            block[INT4_HEAD_BYTES..].chunks_exact(16).for_each(|bytes| nibbles(bytes, scale, -zero, 0.0, out));
        }
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn q8_0(block: &[u8], out: &mut Vec<f32>) {
    let scale = half_at(block, 0);
    out.extend(block[2..].iter().map(|byte| scale * f32::from(byte.cast_signed())));
}

/// `scale * (number + shift) + add`, low halves first.
fn nibbles(bytes: &[u8], scale: f32, shift: f32, add: f32, out: &mut Vec<f32>) {
    let number = |number: u8| scale * (f32::from(number) + shift) + add;
    out.extend(bytes.iter().map(|byte| number(byte & 15)));
    out.extend(bytes.iter().map(|byte| number(byte >> 4)));
}

/// Four bytes of fifth bits, then the halves.
fn fifths(bytes: &[u8], scale: f32, shift: f32, add: f32, out: &mut Vec<f32>) {
    let (high, low) = bytes.split_at(4);
    let high = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
    let halves = low.iter().map(|byte| byte & 15).chain(low.iter().map(|byte| byte >> 4));
    for (index, half) in halves.enumerate() {
        let number = half | ((high >> index & 1) as u8) << 4;
        out.push(scale * (f32::from(number) + shift) + add);
    }
}

/// Eight groups of 32: pairs of groups share 32 bytes, the first in the low halves. Bit `g` of `fifth` is group `g`'s.
fn k_groups(block: &[u8], fifth: &[u8], low: &[u8], out: &mut Vec<f32>) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for group in 0..8 {
        let (group_scale, group_minimum) = k_scale(&block[4..16], group);
        let (scale, minimum) = (scale * f32::from(group_scale), minimum * f32::from(group_minimum));
        for (at, byte) in low[group / 2 * 32..][..32].iter().enumerate() {
            let half = byte >> (4 * (group % 2)) & 15;
            let high = fifth.get(at).map_or(0, |bits| (bits >> group & 1) << 4);
            out.push(scale * f32::from(half | high) - minimum);
        }
    }
}

/// A group's six-bit scale and minimum. The first four groups have theirs in a byte each, the others are spread.
fn k_scale(packed: &[u8], group: usize) -> (u8, u8) {
    match group {
        0..4 => (packed[group] & 63, packed[group + 4] & 63),
        _ => {
            let scale = packed[group + 4] & 15 | packed[group - 4] >> 6 << 4;
            (scale, packed[group + 4] >> 4 | packed[group] >> 6 << 4)
        }
    }
}

/// Two halves of 128 numbers; each has 64 bytes of low halves, 32 bytes of upper bits and eight scales.
fn q6_k(block: &[u8], out: &mut Vec<f32>) {
    let whole = half_at(block, 208);
    for half in 0..2 {
        let (low, high) = (&block[half * 64..][..64], &block[128 + half * 32..][..32]);
        let scales = &block[192 + half * 8..][..8];
        for number in 0..128 {
            let (quarter, at) = (number / 32, number % 32);
            let lower = low[quarter % 2 * 32 + at] >> (quarter / 2 * 4) & 15;
            let upper = (high[at] >> (2 * quarter) & 3) << 4;
            let scale = whole * f32::from(scales[number / 16].cast_signed());
            out.push(scale * (f32::from(lower | upper) - 32.0));
        }
    }
}
