//! Finds tensors by name in a directory's safetensors files, mapped into memory: one file, or shards with an index.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use engine_backend::DType;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use serde_json::{Map, Value};

use crate::LoadError;
use crate::weights::Stored;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A directory's weights.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    shards: Vec<Shard>,
    /// If there are several.
    index: Option<Index>,
}

#[derive(Debug)]
struct Index {
    path: PathBuf,
    /// From a tensor to its shard.
    places: HashMap<String, usize>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    bytes: Mmap,
    /// Where the tensors' bytes begin.
    start: usize,
    metadata: Metadata,
}

impl Checkpoint {
    pub(crate) fn open(dir: &Path) -> Result<Checkpoint, LoadError> {
        let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
        if single.exists() {
            Checkpoint::of_single(single)
        } else if index.exists() {
            Checkpoint::of_shards(dir, &index)
        } else {
            Err(LoadError::NoWeights { dir: dir.to_owned() })
        }
    }

    /// Whether there is such a tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        match &self.index {
            None => self.shards[0].metadata.info(name).is_some(),
            Some(index) => index.places.contains_key(name),
        }
    }

    /// A tensor that must have this shape.
    pub(crate) fn tensor(&self, name: &str, expected: &[usize]) -> Result<Stored<'_>, LoadError> {
        let (shard, stored) = self.find(name, expected)?;
        let dtype = match stored.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::Bf16,
            other => return Err(shard.wrong_type(name, other, "F32, F16, BF16")),
        };
        Ok(Stored { dtype, bytes: Cow::Borrowed(shard.bytes_of(stored)), path: &shard.path })
    }

    /// The integers of a tensor that must have this shape.
    pub(crate) fn integers(&self, name: &str, expected: &[usize]) -> Result<&[[u8; 4]], LoadError> {
        let (shard, stored) = self.find(name, expected)?;
        match stored.dtype {
            Dtype::I32 | Dtype::U32 => Ok(shard.bytes_of(stored).as_chunks().0),
            other => Err(shard.wrong_type(name, other, "I32")),
        }
    }

    fn find(&self, name: &str, expected: &[usize]) -> Result<(&Shard, &TensorInfo), LoadError> {
        let place = match &self.index {
            None => Ok(0),
            Some(index) => index.places.get(name).copied().ok_or(&index.path),
        };
        let found = place.and_then(|place| {
            let shard = &self.shards[place];
            Ok((shard, shard.metadata.info(name).ok_or(&shard.path)?))
        });
        let (shard, stored) = found.map_err(|path| LoadError::TensorMissing {
            path: path.clone(),
            name: name.to_owned(),
            expected: expected.to_vec(),
        })?;
        if stored.shape != expected {
            return Err(LoadError::TensorShape {
                path: shard.path.clone(),
                name: name.to_owned(),
                expected: expected.to_vec(),
                found: stored.shape.clone(),
            });
        }
        Ok((shard, stored))
    }

    fn of_single(path: PathBuf) -> Result<Checkpoint, LoadError> {
        Ok(Checkpoint { shards: vec![Shard::open(path)?], index: None })
    }

    fn of_shards(dir: &Path, path: &Path) -> Result<Checkpoint, LoadError> {
        let weight_map = weight_map(path)?;
        let mut files: Vec<&String> = weight_map.values().collect();
        files.sort_unstable();
        files.dedup();
        let place: HashMap<&String, usize> = files.iter().copied().zip(0..).collect();
        let places = weight_map.iter().map(|(name, file)| (name.clone(), place[file])).collect();
        let index = Some(Index { path: path.to_owned(), places });
        let shards: Result<Vec<Shard>, LoadError> = files.iter().map(|file| Shard::open(dir.join(file))).collect();
        Ok(Checkpoint { shards: shards?, index })
    }
}

/// From tensors to the files they are in, as `model.safetensors.index.json` says.
fn weight_map(path: &Path) -> Result<HashMap<String, String>, LoadError> {
    let text = std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let index: Map<String, Value> = serde_json::from_slice(&text)
        .map_err(|error| LoadError::Json { path: path.to_owned(), reason: error.to_string() })?;
    let field = "weight_map".to_owned();
    let wrong = |field: String, expected: &str, found: &Value| LoadError::FieldWrong {
        path: path.to_owned(),
        field,
        expected: expected.to_owned(),
        found: found.to_string(),
    };
    let files = match index.get(&field) {
        Some(Value::Object(files)) if !files.is_empty() => files,
        Some(other) => return Err(wrong(field, "a map from tensors to files", other)),
        None => return Err(LoadError::FieldMissing { path: path.to_owned(), field }),
    };
    let checked = files.iter().map(|(tensor, file)| match file.as_str() {
        Some(name) if Path::new(name).file_name() == Some(name.as_ref()) => Ok((tensor.clone(), name.to_owned())),
        _ => Err(wrong(format!("{field}.{tensor}"), "a plain file name", file)),
    });
    checked.collect()
}

impl Shard {
    fn open(path: PathBuf) -> Result<Shard, LoadError> {
        let read = |source| LoadError::Read { path: path.clone(), source };
        let file = File::open(&path).map_err(read)?;
        // SAFETY: the mapping is read-only and private to this value. A checkpoint that is overwritten while it loads
        // would give wrong weights or a bus error, as with every loader that maps; weights are copied out at load.
        let bytes = unsafe { Mmap::map(&file) }.map_err(read)?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| LoadError::Safetensors { path: path.clone(), reason: error.to_string() })?;
        let start = header + size_of::<u64>();
        Ok(Shard { path, bytes, start, metadata })
    }
    fn bytes_of(&self, tensor: &TensorInfo) -> &[u8] {
        let (from, to) = tensor.data_offsets;
        &self.bytes[self.start + from..self.start + to]
    }

    fn wrong_type(&self, name: &str, found: Dtype, expected: &'static str) -> LoadError {
        let (path, name, found) = (self.path.clone(), name.to_owned(), format!("{found:?}"));
        LoadError::TensorType { path, name, found, expected }
    }
}
