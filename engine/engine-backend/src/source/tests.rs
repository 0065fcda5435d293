//! Blocks against what the `gguf` Python package reads from the same bytes.

use super::*;

/// Two blocks of bytes that count up by 37, with f16 scales (0.25, 0.5, … plus 0.5 in the second) at these places.
fn blocks(dtype: DType, scales: &[usize]) -> Vec<u8> {
    let size = dtype.block().1;
    let mut bytes: Vec<u8> = (0..2 * size).map(|index| ((index * 37 + 11) % 256) as u8).collect();
    for block in 0..2 {
        for (place, at) in scales.iter().enumerate() {
            let scale = half::f16::from_f32(0.25 * (place + 1) as f32 + 0.5 * block as f32);
            bytes[block * size + at..][..2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    bytes
}

/// First, second, eighteenth, around the border of the blocks, one in the last quarter, and the last; then the sum.
#[track_caller]
fn check(dtype: DType, scales: &[usize], picked: &[f32], sum: f64) {
    let bytes = blocks(dtype, scales);
    let part = SourcePart { dtype, bytes: &bytes };
    let found: Vec<f32> = part.read_f32().collect();
    let count = found.len();
    assert_eq!(count, part.len());
    assert_eq!(dtype.bytes_of(count), Some(bytes.len()));
    let places = [0, 1, 17, count / 2 - 1, count / 2, count * 3 / 4 + 5, count - 1];
    assert_eq!(places.map(|place| found[place]), picked);
    assert_eq!(found.iter().copied().map(f64::from).sum::<f64>(), sum);
    assert!(part.is_finite());
    for at in scales {
        let mut broken = bytes.clone();
        broken[part.dtype.block().1 + at..][..2].copy_from_slice(&half::f16::NAN.to_le_bytes());
        assert!(!SourcePart { dtype, bytes: &broken }.is_finite(), "a scale is no number");
    }
}

#[test]
fn blocks_read_as_the_reference_reads_them() {
    check(DType::Q8_0, &[0], &[21.25, 30.5, -13.5, -12.0, 47.25, 54.0, -52.5], -128.0);
    check(DType::Q4_0, &[0], &[-0.75, 0.5, -0.25, 0.0, 5.25, 1.5, -5.25], -13.5);
    check(DType::Q4_1, &[0, 2], &[4.25, 1.5, 3.5, 3.5, 3.25, 3.25, 8.5], 296.0);
    check(DType::Q5_0, &[0], &[2.25, -0.5, 0.0, 0.25, 5.25, -2.25, 3.0], -10.5);
    check(DType::Q5_1, &[0, 2], &[5.25, 6.5, 1.75, 1.75, 21.25, 17.5, 22.75], 535.0);
    check(DType::Q4K, &[0, 2], &[59.75, -25.5, -25.5, -1.0, 384.75, 60.0, 308.0], 60072.0);
    check(DType::Q5K, &[0, 2], &[183.75, -25.5, -25.5, 14.0, 268.75, -14.0, 188.0], 96376.0);
    check(DType::Q6K, &[208], &[-357.75, 424.0, 128.0, -15.0, -305.25, 808.5, -1200.0], 1774.0);
}

#[test]
fn groups_of_int4_have_a_scale_and_a_zero_point() {
    let dtype = DType::Int4 { group: 64 };
    let scale = half::f16::from_f32(0.5).to_le_bytes();
    let numbers: Vec<u8> = (0..64).map(|index| index % 16).collect();
    let packed = numbers.chunks_exact(32).flat_map(|run| (0..16).map(|at| run[at] | run[at + 16] << 4));
    let bytes: Vec<u8> = scale.into_iter().chain([3, 0]).chain(packed).collect();
    let part = SourcePart { dtype, bytes: &bytes };
    let expected: Vec<f32> = numbers.iter().map(|number| 0.5 * (f32::from(*number) - 3.0)).collect();
    assert_eq!((part.len(), part.read_f32().collect::<Vec<f32>>()), (64, expected));
}

#[test]
fn plain_numbers_read_as_they_are() {
    let numbers = [1.5f32, -0.25, 0.0, 65504.0];
    let single: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let half: Vec<u8> = numbers.iter().flat_map(|number| half::f16::from_f32(*number).to_le_bytes()).collect();
    let upper: Vec<u8> = numbers[..3].iter().flat_map(|number| half::bf16::from_f32(*number).to_le_bytes()).collect();
    for (dtype, bytes, count) in [(DType::F32, single, 4), (DType::F16, half, 4), (DType::Bf16, upper, 3)] {
        let part = SourcePart { dtype, bytes: &bytes };
        assert_eq!(part.read_f32().collect::<Vec<f32>>(), numbers[..count]);
        assert!(part.is_finite());
    }
    for (dtype, bytes) in [
        (DType::F32, f32::NAN.to_le_bytes().to_vec()),
        (DType::F16, half::f16::INFINITY.to_le_bytes().to_vec()),
        (DType::Bf16, half::bf16::NAN.to_le_bytes().to_vec()),
    ] {
        assert!(!SourcePart { dtype, bytes: &bytes }.is_finite());
    }
}

#[test]
fn only_whole_blocks_have_a_size() {
    assert_eq!(DType::Q4K.bytes_of(512), Some(288));
    assert_eq!(DType::Q4K.bytes_of(511), None);
    assert_eq!(DType::F32.bytes_of(usize::MAX), None);
    assert_eq!(DType::Int4 { group: 0 }.bytes_of(64), None);
}
