//! The kernels against plain loops in f64, on every instruction set this machine has.

mod attention;
mod experts;
mod groups;
mod layers;
mod product;
mod rounded;

use engine_backend::{DType, Shape, Source, SourcePart};
use half::{bf16, f16};

use crate::{CpuBackend, CpuOptions, Isa, KvType, Tensor, Threads};

/// Numbers about zero, the same on every run.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| draw()).collect()
}

fn tensor(columns: usize, numbers: Vec<f32>) -> Tensor {
    let rows = numbers.len() / columns;
    let mut tensor = Tensor::with_room(Shape { rows, columns }).unwrap();
    tensor.with_rows(rows).unwrap().copy_from_slice(&numbers);
    tensor
}

/// An output with garbage in it.
fn output(rows: usize, columns: usize) -> Tensor {
    tensor(columns, vec![f32::NAN; rows * columns])
}

/// As a checkpoint stores them, and as they come back.
fn stored(dtype: DType, numbers: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let bytes: Vec<u8> = match dtype {
        DType::F32 => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        DType::F16 => numbers.iter().flat_map(|n| f16::from_f32(*n).to_le_bytes()).collect(),
        DType::Bf16 => numbers.iter().flat_map(|n| bf16::from_f32(*n).to_le_bytes()).collect(),
        other => panic!("{other:?} is not written here"),
    };
    let back = SourcePart { dtype, bytes: &bytes }.read_f32().collect();
    (bytes, back)
}

fn source(dtype: DType, bytes: &[u8], shape: Shape) -> Source<'_> {
    Source { shape, parts: vec![SourcePart { dtype, bytes }] }
}

/// Exact ones, on every instruction set that this machine has.
fn backends() -> Vec<CpuBackend> {
    Isa::available().into_iter().filter_map(CpuBackend::with_isa).collect()
}

/// The same with activations rounded, and keys and values kept so.
fn fast(kv: KvType) -> Vec<CpuBackend> {
    let options = |isa| CpuOptions { kv, ..CpuOptions::fast(isa) };
    let with = |isa| CpuBackend::with(options(isa), Threads::of_process());
    Isa::available().into_iter().filter_map(with).collect()
}

#[track_caller]
fn close(found: &[f32], expected: &[f64], error_max: f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= error_max, "at {index}: {found} is not {expected}");
    }
}
