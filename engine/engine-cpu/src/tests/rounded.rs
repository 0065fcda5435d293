//! Products with activations rounded to bf16, and what becomes of their sums.

use engine_backend::{Backend, DType, Gate, Shape};
use half::bf16;
use proptest::prelude::*;

use super::{backends, close, fast, numbers, output, source, stored, tensor};
use crate::{CpuBackend, KvType, Matrix};

fn matrix(backend: &CpuBackend, rows: usize, columns: usize) -> (Matrix, Vec<f32>) {
    let (bytes, weight) = stored(DType::Bf16, &numbers(1, rows * columns));
    (backend.matrix(&source(DType::Bf16, &bytes, Shape { rows, columns })).unwrap(), weight)
}

/// The product in f64 of rounded activations.
fn expected(x: &[f32], weight: &[f32], inner: usize) -> Vec<f64> {
    let dot = |x: &[f32], weight: &[f32]| -> f64 {
        x.iter().zip(weight).map(|(x, weight)| bf16::from_f32(*x).to_f64() * f64::from(*weight)).sum()
    };
    x.chunks_exact(inner).flat_map(|x| weight.chunks_exact(inner).map(move |weight| dot(x, weight))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 40 }))]

    #[test]
    fn products_are_right_and_a_row_does_not_depend_on_its_neighbours(
        rows in 1usize..90, inner in 1usize..200, outputs in 1usize..200, pick in any::<prop::sample::Index>(),
    ) {
        let x = numbers(2, rows * inner);
        for backend in fast(KvType::Bf16) {
            let (matrix, weight) = matrix(&backend, outputs, inner);
            let mut out = output(rows, outputs);
            backend.linear(&tensor(inner, x.clone()), &matrix, None, &mut out).unwrap();
            close(&out.numbers, &expected(&x, &weight, inner), 1e-6 * (inner as f64).max(8.0));
            let row = pick.index(rows);
            let mut alone = output(1, outputs);
            backend.linear(&tensor(inner, x[row * inner..][..inner].to_vec()), &matrix, None, &mut alone).unwrap();
            prop_assert_eq!(&alone.numbers, &out.numbers[row * outputs..][..outputs], "row {}", row);
        }
    }
}

#[test]
fn wide_products_on_several_threads_do_not_depend_on_the_batch() {
    let (rows, inner, outputs) = if cfg!(miri) { (3, 70, 40) } else { (97, 1100, 330) };
    let x = numbers(2, rows * inner);
    for backend in fast(KvType::Bf16) {
        let (matrix, weight) = matrix(&backend, outputs, inner);
        let mut together = output(rows, outputs);
        backend.linear(&tensor(inner, x.clone()), &matrix, None, &mut together).unwrap();
        close(&together.numbers, &expected(&x, &weight, inner), 2e-3);
        for count in [1, 2, 7, 8, 17, 33] {
            let mut some = output(count.min(rows), outputs);
            let x = tensor(inner, x[..count.min(rows) * inner].to_vec());
            backend.linear(&x, &matrix, None, &mut some).unwrap();
            assert_eq!(some.numbers, together.numbers[..count.min(rows) * outputs], "{count} rows, to the last bit");
        }
    }
}

#[test]
fn sums_are_added_to_what_is_there() {
    let (rows, inner, outputs) = (19, 40, 37);
    let (x, before, bias) = (numbers(2, rows * inner), numbers(3, rows * outputs), numbers(4, outputs));
    for backend in backends().into_iter().chain(fast(KvType::Bf16)) {
        let (matrix, _) = matrix(&backend, outputs, inner);
        let x = tensor(inner, x.clone());
        let mut product = output(rows, outputs);
        backend.linear(&x, &matrix, Some(&bias), &mut product).unwrap();
        let mut sum = tensor(outputs, before.clone());
        backend.linear_add(&x, &matrix, Some(&bias), &mut sum).unwrap();
        let expected: Vec<f32> =
            product.numbers.iter().zip(&before).map(|(product, before)| product + before).collect();
        assert_eq!(sum.numbers, expected);
    }
}

#[test]
fn gates_of_whole_tiles_and_of_others_are_the_product_and_then_the_gate() {
    let (inner, rows) = (40, 21);
    let x = numbers(2, rows * inner);
    for backend in backends().into_iter().chain(fast(KvType::Bf16)) {
        for columns in [16, 48, 80, 19] {
            let (matrix, _) = matrix(&backend, 2 * columns, inner);
            let (x, bias) = (tensor(inner, x.clone()), numbers(4, 2 * columns));
            let mut both = output(rows, 2 * columns);
            backend.linear(&x, &matrix, Some(&bias), &mut both).unwrap();
            for gate in [Gate::Silu, Gate::Gelu] {
                let (mut expected, mut found) = (output(rows, columns), output(rows, columns));
                match gate {
                    Gate::Silu => backend.silu_mul(&both, &mut expected).unwrap(),
                    Gate::Gelu => backend.gelu_mul(&both, &mut expected).unwrap(),
                }
                backend.linear_gate(gate, &x, &matrix, Some(&bias), &mut found).unwrap();
                assert_eq!(found.numbers, expected.numbers, "{columns} columns");
            }
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let mut x = numbers(2, 3 * 64);
    x[70] = f32::NAN;
    for backend in fast(KvType::Bf16) {
        let (matrix, _) = matrix(&backend, 20, 64);
        let mut out = output(3, 20);
        backend.linear(&tensor(64, x.clone()), &matrix, None, &mut out).unwrap();
        let nans: Vec<bool> =
            out.numbers.chunks_exact(20).map(|row| row.iter().all(|number| number.is_nan())).collect();
        assert_eq!(nans, [false, true, false]);
    }
}
