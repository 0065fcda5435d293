//! Mixtures of experts: the choice, the weights, and the sum.

use engine_backend::{Backend, DType, Experts, Routing, RoutingWeights, Shape};

use super::{backends, close, numbers, output, source, stored, tensor};
use crate::experts::{Visit, route};

#[track_caller]
fn check_route(weights: RoutingWeights, logits: &[f32], expected: &[(usize, f32)]) {
    let visits = route(Routing { experts_per_token: 2, weights }, logits, logits.len());
    let found = visits.iter().enumerate().flat_map(|(expert, visits)| visits.iter().map(move |visit| (expert, *visit)));
    let found: Vec<(usize, Visit)> = found.collect();
    assert_eq!(found.len(), expected.len());
    for ((expert, visit), expected) in found.iter().zip(expected) {
        assert_eq!(*expert, expected.0);
        assert!((visit.weight - expected.1).abs() < 1e-6, "{visit:?} is not {expected:?}");
    }
}

#[test]
fn weights_are_shares_among_all_or_among_the_chosen() {
    let logits = [0.0, 3f32.ln(), 4f32.ln(), 2f32.ln()];
    check_route(RoutingWeights::AmongAll, &logits, &[(1, 0.3), (2, 0.4)]);
    check_route(RoutingWeights::AmongChosen, &logits, &[(1, 3.0 / 7.0), (2, 4.0 / 7.0)]);
}

#[test]
fn of_equal_experts_the_first_are_chosen() {
    check_route(RoutingWeights::AmongChosen, &[1.0, 1.0, 1.0, 0.0], &[(0, 0.5), (1, 0.5)]);
}

#[test]
fn the_sum_is_right_and_does_not_depend_on_the_batch() {
    let (hidden, inner, count, rows) = (24, 10, 5, 7);
    let shapes = [Shape { rows: 2 * inner, columns: hidden }, Shape { rows: hidden, columns: inner }];
    let weight = |seed: u64, shape: Shape| stored(DType::F32, &numbers(seed, shape.len()));
    let backend = &backends()[0];
    let drawn: Vec<[(Vec<u8>, Vec<f32>); 2]> = (0..count)
        .map(|expert| [weight(expert as u64 + 1, shapes[0]), weight(expert as u64 + 50, shapes[1])])
        .collect();
    let matrices = |which: usize| {
        let made = drawn.iter().map(|pair| backend.matrix(&source(DType::F32, &pair[which].0, shapes[which])));
        made.collect::<Result<Vec<_>, _>>().unwrap()
    };
    let (gate_up, down) = (matrices(0), matrices(1));
    let (x, logits) = (numbers(7, rows * hidden), numbers(8, rows * count));
    let routing = Routing { experts_per_token: 2, weights: RoutingWeights::AmongChosen };
    let run = |x: &[f32], logits: &[f32]| {
        let mut out = output(x.len() / hidden, hidden);
        let experts = Experts { gate_up: &gate_up, down: &down };
        let (x, logits) = (tensor(hidden, x.to_vec()), tensor(count, logits.to_vec()));
        backend.experts(experts, routing, &x, &logits, &mut out).unwrap();
        out.numbers
    };
    let whole = run(&x, &logits);
    let mut expected = vec![0.0f64; rows * hidden];
    for (expert, visits) in route(routing, &logits, count).iter().enumerate() {
        let [(_, up), (_, down)] = &drawn[expert];
        for visit in visits {
            let x = &x[visit.row * hidden..][..hidden];
            let dot =
                |row: usize| -> f64 { (0..hidden).map(|c| f64::from(up[row * hidden + c]) * f64::from(x[c])).sum() };
            let gated: Vec<f64> = (0..inner).map(|at| dot(at) / (1.0 + (-dot(at)).exp()) * dot(inner + at)).collect();
            for at in 0..hidden {
                let added: f64 = (0..inner).map(|c| f64::from(down[at * inner + c]) * gated[c]).sum();
                expected[visit.row * hidden + at] += f64::from(visit.weight) * added;
            }
        }
    }
    close(&whole, &expected, 1e-4);
    for row in 0..rows {
        let alone = run(&x[row * hidden..][..hidden], &logits[row * count..][..count]);
        assert_eq!(alone, whole[row * hidden..][..hidden], "to the last bit");
    }
}
