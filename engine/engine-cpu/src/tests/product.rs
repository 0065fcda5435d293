//! Products of odd sizes, and their independence of the batch.

use engine_backend::{Backend, DType, Shape, Source, SourcePart};

use super::{backends, close, numbers, output, source, stored, tensor};

#[track_caller]
fn check(rows: usize, inner: usize, columns: usize) {
    for dtype in [DType::F32, DType::F16, DType::Bf16] {
        let (bytes, weight) = stored(dtype, &numbers(1, columns * inner));
        let x = numbers(2, rows * inner);
        let bias = numbers(3, columns);
        let expected: Vec<f64> = (0..rows * columns)
            .map(|at| {
                let (row, column) = (at / columns, at % columns);
                let products =
                    (0..inner).map(|k| f64::from(x[row * inner + k]) * f64::from(weight[column * inner + k]));
                products.sum::<f64>() + f64::from(bias[column])
            })
            .collect();
        let x = tensor(inner, x);
        for backend in backends() {
            let matrix = backend.matrix(&source(dtype, &bytes, Shape { rows: columns, columns: inner }));
            let mut out = output(rows, columns);
            backend.linear(&x, &matrix.unwrap(), Some(&bias), &mut out).unwrap();
            close(&out.numbers, &expected, 1e-6 * (inner as f64).max(4.0));
        }
    }
}

#[test]
fn products_of_odd_sizes_are_right() {
    for rows in [1, 2, 3, 5, 8, 9, 65, 131] {
        for (inner, columns) in [(1, 1), (3, 16), (64, 17), (33, 47), (128, 64), (20, 130)] {
            check(rows, inner, columns);
        }
    }
}

#[test]
fn a_product_on_several_threads_is_right() {
    check(300, 128, 300);
}

#[test]
fn a_row_does_not_depend_on_its_neighbours() {
    let (inner, columns, rows) = (70, 100, 67);
    let (bytes, _) = stored(DType::Bf16, &numbers(1, columns * inner));
    let x = numbers(2, rows * inner);
    for backend in backends() {
        let shape = Shape { rows: columns, columns: inner };
        let matrix = backend.matrix(&source(DType::Bf16, &bytes, shape)).unwrap();
        let mut together = output(rows, columns);
        backend.linear(&tensor(inner, x.clone()), &matrix, None, &mut together).unwrap();
        for (row, expected) in together.numbers.chunks_exact(columns).enumerate() {
            let mut alone = output(1, columns);
            let x = tensor(inner, x[row * inner..][..inner].to_vec());
            backend.linear(&x, &matrix, None, &mut alone).unwrap();
            assert_eq!(alone.numbers, expected, "row {row}, to the last bit");
        }
    }
}

#[test]
fn parts_of_different_types_make_one_matrix() {
    let (first, first_back) = stored(DType::F32, &numbers(1, 3 * 5));
    let (second, second_back) = stored(DType::Bf16, &numbers(2, 2 * 5));
    let parts =
        vec![SourcePart { dtype: DType::F32, bytes: &first }, SourcePart { dtype: DType::Bf16, bytes: &second }];
    let matrix = super::backends()[0].matrix(&Source { shape: Shape { rows: 5, columns: 5 }, parts }).unwrap();
    let expected = [first_back, second_back].concat();
    for (row, expected) in expected.chunks_exact(5).enumerate() {
        let mut found = [0.0; 5];
        matrix.row(row, &mut found);
        assert_eq!(found, expected);
    }
}

#[test]
fn a_source_that_is_too_short_is_refused() {
    let (bytes, _) = stored(DType::F32, &numbers(1, 9));
    let backend = &super::backends()[0];
    let refused = backend.matrix(&source(DType::F32, &bytes, Shape { rows: 2, columns: 5 }));
    assert!(refused.unwrap_err().to_string().contains("9 numbers"));
}
