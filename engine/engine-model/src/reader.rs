//! Takes parameters out of a checkpoint and hands them to a backend.

use std::borrow::Cow;

use engine_backend::{Backend, DType, Error, Shape, Source, SourcePart};

use crate::LoadError;
use crate::parameters::Parameters;
use crate::weights::{Stored, Weights};

pub(crate) struct Reader<'a, B> {
    pub(crate) backend: &'a B,
    pub(crate) weights: &'a Weights,
    /// Added to norms' factors.
    pub(crate) norm_offset: f32,
    /// What plain matrices are rounded to.
    pub(crate) round_to: Option<DType>,
}

impl<B: Backend> Parameters for Reader<'_, B> {
    type Matrix = B::Matrix;
    type Vector = B::Vector;

    fn matrix(&self, names: &[String], rows: &[usize], columns: usize) -> Result<B::Matrix, LoadError> {
        let stored = names.iter().zip(rows).map(|(name, rows)| self.weights.tensor(name, &[*rows, columns]));
        let stored = stored.map(|stored| Ok(self.rounded(stored?, names, columns)));
        let stored: Vec<Stored<'_>> = stored.collect::<Result<_, LoadError>>()?;
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

impl<B> Reader<'_, B> {
    /// The same in fewer bits, if that was asked for.
    fn rounded<'a>(&self, stored: Stored<'a>, names: &[String], columns: usize) -> Stored<'a> {
        let Some(wanted) = self.round_to.filter(|_| stored.dtype.is_plain()) else {
            return stored;
        };
        let dtype = type_for(wanted, names, columns);
        let numbers: Vec<f32> = stored.part().read_f32().collect();
        Stored { dtype, bytes: Cow::Owned(dtype.encode(&numbers)), path: stored.path }
    }
}

/// The wanted type, or a wider one where that costs little and shows much: the embedding and the head take eight bits,
/// and rows that are no whole blocks take what fits.
fn type_for(wanted: DType, names: &[String], columns: usize) -> DType {
    let sensitive = names.iter().any(|name| name == "lm_head.weight" || name == "model.embed_tokens.weight");
    let wanted = if sensitive && !wanted.is_plain() { DType::Q8_0 } else { wanted };
    let fits = |dtype: &DType| dtype.bytes_of(columns).is_some();
    [wanted, DType::Q8_0].into_iter().find(fits).unwrap_or(DType::Bf16)
}

fn failed(names: &[String], source: Error) -> LoadError {
    LoadError::Backend { what: format!("store {}", names.join(", ")), source }
}
