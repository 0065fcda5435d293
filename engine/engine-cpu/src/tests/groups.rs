//! Weights in groups: read as their formats say, multiplied near to that, independent of the batch.

use engine_backend::{Backend, DType, Shape, Source, SourcePart};

use super::{close, fast, numbers, output, tensor};
use crate::KvType;

const FORMATS: [DType; 10] = [
    DType::Q8_0,
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Q4K,
    DType::Q5K,
    DType::Q6K,
    DType::Int4 { group: 32 },
    DType::Int4 { group: 128 },
];

/// Blocks of any bytes, but for scales of a reasonable size.
fn blocks(dtype: DType, seed: u64, numbers_wanted: usize) -> Vec<u8> {
    let (block_numbers, block_bytes) = dtype.block();
    let drawn = numbers(seed, numbers_wanted / block_numbers * block_bytes);
    let mut bytes: Vec<u8> = drawn.iter().map(|number| ((number + 1.0) * 127.9) as u8).collect();
    let scale = half::f16::from_f32(0.02).to_le_bytes();
    let scales: &[usize] = match dtype {
        DType::Q4_1 | DType::Q5_1 | DType::Q4K | DType::Q5K => &[0, 2],
        DType::Q6K => &[208],
        _ => &[0],
    };
    for block in bytes.chunks_exact_mut(block_bytes) {
        scales.iter().for_each(|at| block[*at..at + 2].copy_from_slice(&scale));
        if let DType::Int4 { .. } = dtype {
            block[2] %= 17;
        }
    }
    bytes
}

#[test]
fn every_format_is_read_as_it_says_and_multiplied() {
    let (rows, columns, outputs) = (57, 512, 53);
    let x = numbers(3, rows * columns);
    for dtype in FORMATS {
        let bytes = blocks(dtype, 5, outputs * columns);
        let part = SourcePart { dtype, bytes: &bytes };
        let weight: Vec<f32> = part.read_f32().collect();
        let largest = weight.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
        let source = Source { shape: Shape { rows: outputs, columns }, parts: vec![part] };
        let expected: Vec<f64> = x
            .chunks_exact(columns)
            .flat_map(|x| {
                let dot = |weight: &[f32]| x.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                weight.chunks_exact(columns).map(dot).collect::<Vec<f64>>()
            })
            .collect();
        for backend in fast(KvType::Bf16) {
            let matrix = backend.matrix(&source).unwrap();
            let mut row = vec![0.0; columns];
            matrix.row(outputs - 1, &mut row);
            let error = f64::from(largest) * 0.003;
            let last: Vec<f64> = weight[(outputs - 1) * columns..].iter().copied().map(f64::from).collect();
            close(&row, &last, error);
            let mut out = output(rows, outputs);
            backend.linear(&tensor(columns, x.clone()), &matrix, None, &mut out).unwrap();
            // Activations are off by at most 1/254 each, at random.
            close(&out.numbers, &expected, f64::from(largest) * 0.02 * (columns as f64).sqrt());
            for picked in [0, 17, 33, 48, 56] {
                let mut alone = output(1, outputs);
                let x = tensor(columns, x[picked * columns..][..columns].to_vec());
                backend.linear(&x, &matrix, None, &mut alone).unwrap();
                assert_eq!(alone.numbers, out.numbers[picked * outputs..][..outputs], "{dtype:?}, row {picked}");
            }
        }
    }
}

#[test]
fn the_instructions_agree_on_whole_numbers() {
    let (columns, outputs) = (64, 16);
    let x: Vec<f32> = (0..columns).map(|at| if at % 3 == 0 { 127.0 } else { -127.0 }).collect();
    // The greatest sums there are.
    let block: Vec<u8> = half::f16::ONE.to_le_bytes().into_iter().chain([0x80; 32]).collect();
    let bytes = block.repeat(outputs * columns / 32);
    let source = Source {
        shape: Shape { rows: outputs, columns },
        parts: vec![SourcePart { dtype: DType::Q8_0, bytes: &bytes }],
    };
    let expected = x.iter().sum::<f32>() * -128.0;
    for backend in fast(KvType::Bf16) {
        let matrix = backend.matrix(&source).unwrap();
        let mut out = output(1, outputs);
        backend.linear(&tensor(columns, x.clone()), &matrix, None, &mut out).unwrap();
        assert_eq!(out.numbers, vec![expected; outputs]);
    }
}

#[test]
fn parts_of_different_formats_are_joined() {
    let columns = 256;
    let (first, second) = (blocks(DType::Q4K, 1, 20 * columns), blocks(DType::Q8_0, 2, 7 * columns));
    let parts =
        vec![SourcePart { dtype: DType::Q4K, bytes: &first }, SourcePart { dtype: DType::Q8_0, bytes: &second }];
    let expected: Vec<f32> = parts.iter().flat_map(|part| part.read_f32()).collect();
    let source = Source { shape: Shape { rows: 27, columns }, parts };
    for backend in fast(KvType::Bf16) {
        let matrix = backend.matrix(&source).unwrap();
        for (at, expected) in expected.chunks_exact(columns).enumerate() {
            let mut row = vec![0.0; columns];
            matrix.row(at, &mut row);
            close(&row, &expected.iter().copied().map(f64::from).collect::<Vec<_>>(), 0.02);
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let bytes = blocks(DType::Q4_0, 1, 20 * 64);
    let parts = vec![SourcePart { dtype: DType::Q4_0, bytes: &bytes }];
    let source = Source { shape: Shape { rows: 20, columns: 64 }, parts };
    let mut x = numbers(2, 3 * 64);
    x[70] = f32::NAN;
    for backend in fast(KvType::Bf16) {
        let matrix = backend.matrix(&source).unwrap();
        let mut out = output(3, 20);
        backend.linear(&tensor(64, x.clone()), &matrix, None, &mut out).unwrap();
        let rows = out.numbers.chunks_exact(20);
        let nans: Vec<bool> = rows.map(|row| row.iter().all(|number| number.is_nan())).collect();
        assert_eq!(nans, [false, true, false]);
    }
}
