//! What is known of some rows after a part of the context: the greatest score, the sum of shares, the sums of values.

use crate::cache::Cache;
use crate::lanes::WIDTH;

/// Some rows' sums.
#[derive(Debug)]
pub(super) struct Rows {
    /// Of each row, so far; minus infinity before any.
    pub(super) greatest: Vec<f32>,
    /// Of e to the score less the greatest.
    pub(super) total: Vec<f32>,
    /// `dim` numbers for each row, of the values by their shares.
    pub(super) sums: Vec<f32>,
    /// Filled up to sixteen.
    pub(super) dim: usize,
}

impl Rows {
    pub(super) fn new(rows: usize, cache: &Cache) -> Rows {
        let dim = cache.sides().dim;
        // Whole tiles of rows.
        let sums = vec![0.0; rows.next_multiple_of(WIDTH) * dim];
        Rows { greatest: vec![f32::NEG_INFINITY; rows], total: vec![0.0; rows], sums, dim }
    }

    pub(super) fn clear(&mut self) {
        self.greatest.fill(f32::NEG_INFINITY);
        self.total.fill(0.0);
        self.sums.fill(0.0);
    }

    /// Adds what a later part of the context came to.
    pub(super) fn join(&mut self, part: &Rows) {
        for row in 0..self.greatest.len() {
            let (before, after) = (self.greatest[row], part.greatest[row]);
            if after == f32::NEG_INFINITY {
                continue;
            }
            let sums = self.sums[row * self.dim..].iter_mut().zip(&part.sums[row * self.dim..]).take(self.dim);
            if before == f32::NEG_INFINITY {
                self.greatest[row] = after;
                self.total[row] = part.total[row];
                sums.for_each(|(sum, part)| *sum = *part);
                continue;
            }
            let greatest = if before > after { before } else { after };
            let (keep, take) = ((before - greatest).exp(), (after - greatest).exp());
            self.greatest[row] = greatest;
            self.total[row] = self.total[row] * keep + part.total[row] * take;
            sums.for_each(|(sum, part)| *sum = *sum * keep + part * take);
        }
    }

    /// Each row's values by their shares of one.
    pub(super) fn finished(&self) -> impl Iterator<Item = impl Iterator<Item = f32> + '_> + '_ {
        self.sums.chunks_exact(self.dim).zip(&self.total).map(|(sums, total)| {
            let share = 1.0 / total;
            sums.iter().map(move |sum| sum * share)
        })
    }
}
