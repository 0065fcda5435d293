//! Takes parameters out of a checkpoint and hands them to a backend.

use engine_backend::{Backend, DType, Error, Shape, Source, SourcePart};

use crate::LoadError;
use crate::parameters::Parameters;
use crate::weights::{Stored, Weights};

pub(crate) struct Reader<'a, B> {
    pub(crate) backend: &'a B,
    pub(crate) weights: &'a Weights,
    /// Added to norms' factors.
    pub(crate) norm_offset: f32,
}

impl<B: Backend> Parameters for Reader<'_, B> {
    type Matrix = B::Matrix;
    type Vector = B::Vector;

    fn matrix(&self, names: &[String], rows: &[usize], columns: usize) -> Result<B::Matrix, LoadError> {
        let stored = names.iter().zip(rows).map(|(name, rows)| self.weights.tensor(name, &[*rows, columns]));
        let stored: Vec<Stored<'_>> = stored.collect::<Result<_, _>>()?;
        let parts = stored.iter().map(Stored::part).collect();
        let shape = Shape { rows: rows.iter().sum(), columns };
        self.backend.matrix(&Source { shape, parts }).map_err(|source| failed(names, source))
    }

    fn vector(&self, names: &[String], lengths: &[usize]) -> Result<B::Vector, LoadError> {
        let stored = names.iter().zip(lengths).map(|(name, length)| self.weights.tensor(name, &[*length]));
        let stored: Vec<Stored<'_>> = stored.collect::<Result<_, _>>()?;
        let parts = stored.iter().map(Stored::part).collect();
        let shape = Shape { rows: 1, columns: lengths.iter().sum() };
        self.backend.vector(&Source { shape, parts }).map_err(|source| failed(names, source))
    }

    fn norm(&self, name: String, columns: usize) -> Result<B::Vector, LoadError> {
        if self.norm_offset == 0.0 {
            return self.vector(&[name], &[columns]);
        }
        let stored = self.weights.tensor(&name, &[columns])?;
        let bytes: Vec<u8> =
            stored.part().read_f32().flat_map(|factor| (factor + self.norm_offset).to_le_bytes()).collect();
        let parts = vec![SourcePart { dtype: DType::F32, bytes: &bytes }];
        let source = Source { shape: Shape { rows: 1, columns }, parts };
        self.backend.vector(&source).map_err(|source| failed(&[name], source))
    }
}

fn failed(names: &[String], source: Error) -> LoadError {
    LoadError::Backend { what: format!("store {}", names.join(", ")), source }
}
