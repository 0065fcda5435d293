//! A checkpoint's tensors by Hugging Face's names, whatever file they lie in.

use std::borrow::Cow;
use std::path::Path;

use engine_backend::{DType, SourcePart};

use crate::checkpoint::Checkpoint;
use crate::gguf::GgufWeights;
use crate::{LoadError, Quantisation};

/// Where the tensors are.
pub(crate) enum Weights {
    /// A directory of safetensors, some of them perhaps quantised in groups.
    Files(Checkpoint, Option<Quantisation>),
    /// One GGUF file.
    Gguf(GgufWeights),
}

/// One tensor; borrowed from its file, or brought into a layout of ours.
pub(crate) struct Stored<'a> {
    pub(crate) dtype: DType,
    pub(crate) bytes: Cow<'a, [u8]>,
    /// The file it is in.
    pub(crate) path: &'a Path,
}

impl Weights {
    /// A tensor that must have this shape.
    pub(crate) fn tensor(&self, name: &str, expected: &[usize]) -> Result<Stored<'_>, LoadError> {
        let stored = match self {
            Weights::Files(files, quantisation) => match (quantisation, name.strip_suffix(".weight")) {
                (Some(quantisation), Some(layer)) if files.has(&format!("{layer}.qweight")) => {
                    quantisation.tensor(files, layer, expected)?
                }
                _ => files.tensor(name, expected)?,
            },
            Weights::Gguf(gguf) => gguf.tensor(name, expected)?,
        };
        match stored.part().is_finite() {
            true => Ok(stored),
            false => Err(LoadError::NotFinite { path: stored.path.to_owned(), name: name.to_owned() }),
        }
    }
}

impl Stored<'_> {
    pub(crate) fn part(&self) -> SourcePart<'_> {
        SourcePart { dtype: self.dtype, bytes: &self.bytes }
    }
}
