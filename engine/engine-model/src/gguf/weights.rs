//! A GGUF file's tensors under Hugging Face's names, in Hugging Face's order of rows.

use std::borrow::Cow;

use super::file::{Entry, Gguf};
use super::names::{is_interleaved, place};
use super::rows::apart;
use crate::weights::Stored;
use crate::{Architecture, LoadError, ModelConfig, Norms};

/// The tensors of a model that was described from the same file.
pub(crate) struct GgufWeights {
    file: Gguf,
    architecture: Architecture,
    norms: Norms,
    /// Rows of a query or key head.
    head_rows: usize,
}

impl GgufWeights {
    pub(crate) fn new(file: Gguf, config: &ModelConfig) -> GgufWeights {
        let ModelConfig { architecture, norms, heads, .. } = *config;
        GgufWeights { file, architecture, norms, head_rows: heads.dim }
    }

    /// A tensor that must have this shape.
    pub(crate) fn tensor(&self, name: &str, expected: &[usize]) -> Result<Stored<'_>, LoadError> {
        let path = self.file.path();
        let place = place(name, self.norms);
        let spelt = place.as_ref().map_or(name, |place| place.name.as_str()).to_owned();
        let entry = self.file.entry(&spelt).ok_or_else(|| LoadError::TensorMissing {
            path: path.to_owned(),
            name: spelt.clone(),
            expected: expected.to_vec(),
        })?;
        let (shape, bytes) = match place.and_then(|place| place.expert) {
            None => (entry.shape.as_slice(), self.file.bytes(entry)),
            Some(expert) => self.expert(entry, expert),
        };
        if shape != expected {
            let (expected, found) = (expected.to_vec(), entry.shape.clone());
            return Err(LoadError::TensorShape { path: path.to_owned(), name: spelt, expected, found });
        }
        let bytes = match is_interleaved(self.architecture, name) {
            true => Cow::Owned(apart(bytes, bytes.len() / expected[0], self.head_rows)),
            false => Cow::Borrowed(bytes),
        };
        Ok(Stored { dtype: entry.dtype, bytes, path })
    }

    /// One of the outermost parts; an empty shape if there are not so many.
    fn expert<'a>(&'a self, entry: &'a Entry, expert: usize) -> (&'a [usize], &'a [u8]) {
        let (bytes, count) = (self.file.bytes(entry), entry.shape[0]);
        match expert < count {
            true => (&entry.shape[1..], &bytes[bytes.len() / count * expert..][..bytes.len() / count]),
            false => (&[], &[]),
        }
    }
}
