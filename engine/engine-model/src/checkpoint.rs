//! Finds tensors by name in a directory's safetensors files, mapped into memory: one file, or shards with an index.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use engine_backend::{DType, SourcePart};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors};
use serde::Deserialize;

use crate::LoadError;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A directory's weights.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    shards: Vec<Shard>,
    /// From a tensor to its shard.
    index: HashMap<String, usize>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    bytes: Mmap,
    /// Where the tensors' bytes begin.
    start: usize,
    metadata: Metadata,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct IndexFile {
    weight_map: HashMap<String, String>,
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

    /// The bytes of a tensor that must have this shape.
    pub(crate) fn tensor(&self, name: &str, expected: &[usize]) -> Result<SourcePart<'_>, LoadError> {
        let shard = &self.shards[self.index.get(name).copied().unwrap_or(0)];
        let path = || shard.path.clone();
        let Some(stored) = shard.metadata.info(name) else {
            let (name, expected) = (name.to_owned(), expected.to_vec());
            return Err(LoadError::TensorMissing { path: path(), name, expected });
        };
        if stored.shape != expected {
            return Err(LoadError::TensorShape {
                path: path(),
                name: name.to_owned(),
                expected: expected.to_vec(),
                found: stored.shape.clone(),
            });
        }
        let dtype = match stored.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::Bf16,
            other => {
                let (name, found) = (name.to_owned(), format!("{other:?}"));
                return Err(LoadError::TensorType { path: path(), name, found });
            }
        };
        let (from, to) = stored.data_offsets;
        Ok(SourcePart { dtype, bytes: &shard.bytes[shard.start + from..shard.start + to] })
    }

    fn of_single(path: PathBuf) -> Result<Checkpoint, LoadError> {
        Ok(Checkpoint { shards: vec![Shard::open(path)?], index: HashMap::new() })
    }

    fn of_shards(dir: &Path, index: &Path) -> Result<Checkpoint, LoadError> {
        let text = std::fs::read(index).map_err(|source| LoadError::Read { path: index.to_owned(), source })?;
        let json = |reason: String| LoadError::Json { path: index.to_owned(), reason };
        let IndexFile { weight_map } = serde_json::from_slice(&text).map_err(|error| json(error.to_string()))?;
        let mut files: Vec<&String> = weight_map.values().collect();
        files.sort_unstable();
        files.dedup();
        if files.is_empty() {
            return Err(json("weight_map names no file".to_owned()));
        }
        if let Some(outside) = files.iter().find(|file| Path::new(file).file_name() != Some(file.as_ref())) {
            return Err(json(format!("weight_map names {outside}, which is not a plain file name")));
        }
        let place: HashMap<&String, usize> = files.iter().copied().zip(0..).collect();
        let index = weight_map.iter().map(|(name, file)| (name.clone(), place[file])).collect();
        let shards: Result<Vec<Shard>, LoadError> = files.iter().map(|file| Shard::open(dir.join(file))).collect();
        Ok(Checkpoint { shards: shards?, index })
    }
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
}
