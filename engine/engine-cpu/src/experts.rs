//! Mixtures of experts: which experts a token goes to, and the weighed sum of what they make of it.
//!
//! Rows are gathered expert by expert, so each expert's weights are read once a step. A token's outputs are added up in
//! the order of its experts' numbers: its sum does not depend on its batch.

use engine_backend::{Error, Experts, Gate, Routing, RoutingWeights};

use crate::elementwise::Means;
use crate::matrix::Matrix;
use crate::product::{Finish, Multiplier, Product};

/// A token that goes to an expert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Visit {
    pub(crate) row: usize,
    pub(crate) weight: f32,
}

pub(crate) fn apply(
    multiplier: &Multiplier,
    means: Means<'_>,
    experts: Experts<'_, Matrix>,
    routing: Routing,
    x: &[f32],
    logits: &[f32],
    out: &mut [f32],
) -> Result<(), Error> {
    out.fill(0.0);
    let visits = route(routing, logits, experts.gate_up.len());
    let multiply = |x: &[f32], weight: &Matrix, out: &mut [f32]| {
        multiplier.multiply(Product { x, weight, bias: None, out, finish: Finish::Store }, means.threads)
    };
    let (mut gathered, mut gated, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for ((up, down), visits) in experts.gate_up.iter().zip(experts.down).zip(&visits) {
        if visits.is_empty() {
            continue;
        }
        let (columns, inner) = (up.shape.columns, down.shape.columns);
        gathered.clear();
        visits.iter().for_each(|visit| gathered.extend_from_slice(&x[visit.row * columns..][..columns]));
        gated.resize(visits.len() * inner, 0.0);
        added.resize(visits.len() * down.shape.rows, 0.0);
        let product = Product { x: &gathered, weight: up, bias: None, out: &mut gated, finish: Finish::Store };
        multiplier.gate(Gate::Silu, product, means)?;
        multiply(&gated, down, &mut added)?;
        for (visit, added) in visits.iter().zip(added.chunks_exact(down.shape.rows)) {
            let out = &mut out[visit.row * added.len()..][..added.len()];
            out.iter_mut().zip(added).for_each(|(out, added)| *out += visit.weight * added);
        }
    }
    Ok(())
}

/// For each expert, the rows that go to it.
pub(crate) fn route(routing: Routing, logits: &[f32], experts: usize) -> Vec<Vec<Visit>> {
    let mut visits = vec![Vec::new(); experts];
    for (row, logits) in logits.chunks_exact(experts).enumerate() {
        let mut order: Vec<usize> = (0..experts).collect();
        // Of equals the first: the choice is the same on every machine.
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        let chosen = &order[..routing.experts_per_token.min(experts)];
        let highest = logits[order[0]];
        let share = |expert: &usize| f64::from(logits[*expert] - highest).exp();
        let among = match routing.weights {
            RoutingWeights::AmongAll => order.iter().map(share).sum::<f64>(),
            RoutingWeights::AmongChosen => chosen.iter().map(share).sum(),
        };
        chosen.iter().for_each(|expert| visits[*expert].push(Visit { row, weight: (share(expert) / among) as f32 }));
    }
    visits
}
