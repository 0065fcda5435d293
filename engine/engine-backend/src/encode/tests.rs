//! What is rounded comes back, off by no more than a step.

use super::*;
use crate::SourcePart;

/// Numbers about zero, the same on every run.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| draw()).collect()
}

/// `error_max` is for numbers between -1 and 1.
#[track_caller]
fn check(dtype: DType, error_max: f32) {
    let drawn = numbers(1024);
    let one_sided: Vec<f32> = drawn.iter().map(|number| number.abs()).collect();
    let negative: Vec<f32> = drawn.iter().map(|number| -number.abs()).collect();
    for numbers in [drawn, one_sided, negative, vec![0.0; 1024]] {
        let bytes = encode(dtype, &numbers);
        assert_eq!(Some(bytes.len()), dtype.bytes_of(numbers.len()));
        let part = SourcePart { dtype, bytes: &bytes };
        assert!(part.is_finite());
        for (found, number) in part.read_f32().zip(&numbers) {
            assert!((found - number).abs() <= error_max, "{number} came back as {found} in {dtype:?}");
        }
    }
}

#[test]
fn plain_numbers_come_back() {
    check(DType::F32, 0.0);
    check(DType::F16, 0.0005);
    check(DType::Bf16, 0.004);
}

#[test]
fn blocks_come_back_within_a_step() {
    check(DType::Q8_0, 0.0045);
    check(DType::Q6K, 0.05);
    check(DType::Q5_0, 0.07);
    check(DType::Q5_1, 0.04);
    check(DType::Q5K, 0.06);
    check(DType::Q4_0, 0.14);
    check(DType::Q4_1, 0.075);
    check(DType::Q4K, 0.1);
    check(DType::Int4 { group: 32 }, 0.14);
    check(DType::Int4 { group: 128 }, 0.14);
}
