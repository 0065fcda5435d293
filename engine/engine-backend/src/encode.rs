//! Rounds numbers into blocks, nearest first and without a search for better scales.

use half::{bf16, f16};

use crate::DType;

/// Rounds whole blocks of numbers.
///
/// # Panics
/// If they are not whole blocks.
pub(crate) fn encode(dtype: DType, numbers: &[f32]) -> Vec<u8> {
    let (block_numbers, block_bytes) = dtype.block();
    assert!(numbers.len().is_multiple_of(block_numbers), "whole blocks");
    let mut out = Vec::with_capacity(numbers.len() / block_numbers * block_bytes);
    for block in numbers.chunks_exact(block_numbers) {
        match dtype {
            DType::F32 => out.extend(block[0].to_le_bytes()),
            DType::F16 => out.extend(f16::from_f32(block[0]).to_le_bytes()),
            DType::Bf16 => out.extend(bf16::from_f32(block[0]).to_le_bytes()),
            DType::Q8_0 => q8_0(block, &mut out),
            DType::Q4_0 => centred(block, 4, &mut out),
            DType::Q5_0 => centred(block, 5, &mut out),
            DType::Q4_1 => shifted(block, 4, &mut out),
            DType::Q5_1 => shifted(block, 5, &mut out),
            DType::Q4K => k_groups(block, 4, &mut out),
            DType::Q5K => k_groups(block, 5, &mut out),
            DType::Q6K => q6_k(block, &mut out),
            DType::Int4 { .. } => int4(block, &mut out),
        }
    }
    out
}

/// A scale as it will be read back.
fn stored(scale: f32, out: &mut Vec<u8>) -> f32 {
    let scale = f16::from_f32(scale);
    out.extend(scale.to_le_bytes());
    scale.to_f32()
}

/// The nearest step, of those from `least` to `most`; any will do if steps are of no size.
fn step(number: f32, size: f32, least: f32, most: f32) -> f32 {
    if size == 0.0 { 0f32.clamp(least, most) } else { (number / size).round().clamp(least, most) }
}

/// The number that is farthest from zero, with its sign.
fn farthest(numbers: &[f32]) -> f32 {
    numbers.iter().copied().fold(0.0, |far, number| if number.abs() > f32::abs(far) { number } else { far })
}

fn range(numbers: &[f32]) -> (f32, f32) {
    let least = numbers.iter().copied().fold(f32::INFINITY, f32::min);
    (least, numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

fn q8_0(block: &[f32], out: &mut Vec<u8>) {
    let scale = stored(farthest(block).abs() / 127.0, out);
    out.extend(block.iter().map(|number| (step(*number, scale, -127.0, 127.0) as i8).cast_unsigned()));
}

/// The farthest number becomes the lowest step, which is one farther from zero than the highest.
fn centred(block: &[f32], bits: u32, out: &mut Vec<u8>) {
    let middle = (1 << (bits - 1)) as f32;
    let scale = stored(farthest(block) / -middle, out);
    let steps: Vec<u8> =
        block.iter().map(|number| (step(*number, scale, -middle, middle - 1.0) + middle) as u8).collect();
    pack_block(&steps, bits, out);
}

fn shifted(block: &[f32], bits: u32, out: &mut Vec<u8>) {
    let most = ((1 << bits) - 1) as f32;
    let (least, greatest) = range(block);
    let scale = stored((greatest - least) / most, out);
    let least = stored(least, out);
    let steps: Vec<u8> = block.iter().map(|number| step(number - least, scale, 0.0, most) as u8).collect();
    pack_block(&steps, bits, out);
}

/// 32 steps: fifth bits if there are any, then halves.
fn pack_block(steps: &[u8], bits: u32, out: &mut Vec<u8>) {
    if bits == 5 {
        let high = steps.iter().enumerate().fold(0u32, |high, (at, step)| high | u32::from(step >> 4) << at);
        out.extend(high.to_le_bytes());
    }
    out.extend((0..16).map(|at| steps[at] & 15 | (steps[at + 16] & 15) << 4));
}

fn int4(block: &[f32], out: &mut Vec<u8>) {
    let (least, greatest) = range(block);
    let (least, greatest) = (least.min(0.0), greatest.max(0.0));
    let scale = stored((greatest - least) / 15.0, out);
    let zero = step(-least, scale, 0.0, 15.0);
    out.extend([zero as u8, 0]);
    for run in block.chunks_exact(32) {
        let steps: Vec<u8> = run.iter().map(|number| (step(*number, scale, -zero, 15.0 - zero) + zero) as u8).collect();
        pack_block(&steps, 4, out);
    }
}

/// Eight groups of 32, each with a scale and a minimum of six bits.
fn k_groups(block: &[f32], bits: u32, out: &mut Vec<u8>) {
    let most = ((1 << bits) - 1) as f32;
    let groups = block.chunks_exact(32).map(|group| {
        let (least, greatest) = range(group);
        let below = -least.min(0.0);
        ((greatest.max(0.0) + below) / most, below)
    });
    let groups: Vec<(f32, f32)> = groups.collect();
    let largest = |of: fn(&(f32, f32)) -> f32| groups.iter().map(of).fold(0.0, f32::max);
    let scale = stored(largest(|group| group.0) / 63.0, out);
    let minimum = stored(largest(|group| group.1) / 63.0, out);
    let six_bits = |number: f32, unit: f32| step(number, unit, 0.0, 63.0) as u8;
    let packed: Vec<(u8, u8)> =
        groups.iter().map(|group| (six_bits(group.0, scale), six_bits(group.1, minimum))).collect();
    pack_scales(&packed, out);
    let steps = block.chunks_exact(32).zip(&packed).flat_map(|(group, (group_scale, group_minimum))| {
        let (size, below) = (scale * f32::from(*group_scale), minimum * f32::from(*group_minimum));
        group.iter().map(move |number| step(number + below, size, 0.0, most) as u8)
    });
    let steps: Vec<u8> = steps.collect();
    if bits == 5 {
        out.extend((0..32).map(|at| (0..8).fold(0, |high, group| high | (steps[group * 32 + at] >> 4) << group)));
    }
    for pair in steps.chunks_exact(64) {
        out.extend((0..32).map(|at| pair[at] & 15 | (pair[at + 32] & 15) << 4));
    }
}

/// The first four groups' in a byte each; the others' low halves after them, high bits on top of the first ones'.
fn pack_scales(groups: &[(u8, u8)], out: &mut Vec<u8>) {
    out.extend((0..4).map(|at| groups[at].0 | groups[at + 4].0 >> 4 << 6));
    out.extend((0..4).map(|at| groups[at].1 | groups[at + 4].1 >> 4 << 6));
    out.extend((4..8).map(|at| groups[at].0 & 15 | (groups[at].1 & 15) << 4));
}

/// Sixteen groups of sixteen, each with a scale of eight bits.
fn q6_k(block: &[f32], out: &mut Vec<u8>) {
    let scales: Vec<f32> = block.chunks_exact(16).map(|group| farthest(group) / -32.0).collect();
    let whole = f16::from_f32(farthest(&scales) / -128.0);
    let unit = whole.to_f32();
    let packed: Vec<i8> = scales.iter().map(|scale| step(*scale, unit, -128.0, 127.0) as i8).collect();
    let steps = block.chunks_exact(16).zip(&packed).flat_map(|(group, scale)| {
        let size = unit * f32::from(*scale);
        group.iter().map(move |number| (step(*number, size, -32.0, 31.0) + 32.0) as u8)
    });
    let steps: Vec<u8> = steps.collect();
    for half in steps.chunks_exact(128) {
        out.extend((0..64).map(|at| half[at] & 15 | (half[at + 64] & 15) << 4));
    }
    for half in steps.chunks_exact(128) {
        let high = |at: usize| (0..4).fold(0, |high, quarter| high | half[quarter * 32 + at] >> 4 << (2 * quarter));
        out.extend((0..32).map(high));
    }
    out.extend(packed.iter().map(|scale| scale.cast_unsigned()));
    out.extend(whole.to_le_bytes());
}

#[cfg(test)]
mod tests;
