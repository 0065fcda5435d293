//! Opens a GGUF file: its metadata by key, its tensors by name, all checked against the file's length.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use engine_backend::DType;
use memmap2::Mmap;

use super::cursor::{Cursor, Reason};
use super::value::Value;
use crate::LoadError;

const MAGIC: &[u8; 4] = b"GGUF";
const VERSIONS: [u32; 2] = [2, 3];
const DIMENSIONS_MAX: u32 = 4;
/// Where a file does not say.
const ALIGNMENT: u64 = 32;

/// A GGUF file, mapped into memory.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    bytes: Bytes,
    head: Head,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

/// All but the tensors' numbers.
#[derive(Debug)]
struct Head {
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, Entry>,
}

/// Where a tensor is, and what.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Outermost first, as Hugging Face counts.
    pub(super) shape: Vec<usize>,
    pub(super) dtype: DType,
    /// In the file.
    pub(super) bytes: Range<usize>,
}

impl Gguf {
    /// Maps a file and reads all but its tensors.
    pub fn open(path: &Path) -> Result<Gguf, LoadError> {
        let read = |source| LoadError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        // SAFETY: the mapping is read-only and private to this value. A checkpoint that is overwritten while it loads
        // would give wrong weights or a bus error, as with every loader that maps; weights are copied out at load.
        let bytes = unsafe { Mmap::map(&file) }.map_err(read)?;
        Gguf::over(path, Bytes::Mapped(bytes))
    }

    /// Reads a file that is in memory already; `path` is for messages only.
    pub fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Gguf, LoadError> {
        Gguf::over(path, Bytes::Owned(bytes))
    }

    /// Whether a path is for us rather than for a directory's reader.
    pub fn is_named_so(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
    }

    fn over(path: &Path, bytes: Bytes) -> Result<Gguf, LoadError> {
        match Head::read(bytes.all()) {
            Ok(head) => Ok(Gguf { path: path.to_owned(), bytes, head }),
            Err(reason) => Err(LoadError::Gguf { path: path.to_owned(), reason }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.head.metadata.get(key)
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.head.tensors.get(name)
    }

    pub(super) fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.bytes.all()[entry.bytes.clone()]
    }

    pub(super) fn bad(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Gguf { path: self.path.clone(), reason: reason.into() }
    }
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            Bytes::Mapped(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Head, Reason> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(4)? != MAGIC {
            return Err("it does not begin with \"GGUF\"".to_owned());
        }
        let version = cursor.u32()?;
        if !VERSIONS.contains(&version) {
            return Err(format!("its version is {version}; 2 and 3 are read (a big-endian file would look so too)"));
        }
        // A tensor takes at least an empty name, a dimension, a type and an offset; a pair a key, a type and a byte.
        let tensors = cursor.count(8 + 4 + 8 + 4 + 8)?;
        let pairs = cursor.count(8 + 4 + 1)?;
        let metadata = metadata(&mut cursor, pairs)?;
        let alignment = alignment(&metadata)?;
        let infos: Vec<Info<'_>> = (0..tensors).map(|_| Info::read(&mut cursor)).collect::<Result<_, _>>()?;
        let start = cursor.position().checked_next_multiple_of(alignment).ok_or("its alignment is too large")?;
        let mut placed = HashMap::with_capacity(infos.len());
        for info in infos {
            let entry = info.entry(start, alignment, bytes.len())?;
            if placed.insert(info.name.to_owned(), entry).is_some() {
                return Err(format!("tensor {} is there twice", info.name));
            }
        }
        Ok(Head { metadata, tensors: placed })
    }
}

fn metadata(cursor: &mut Cursor<'_>, pairs: usize) -> Result<HashMap<String, Value>, Reason> {
    let mut metadata = HashMap::with_capacity(pairs);
    for _ in 0..pairs {
        let key = cursor.text()?;
        let value = Value::read(cursor).map_err(|reason| format!("{key}: {reason}"))?;
        if metadata.insert(key.to_owned(), value).is_some() {
            return Err(format!("key {key} is there twice"));
        }
    }
    Ok(metadata)
}

fn alignment(metadata: &HashMap<String, Value>) -> Result<usize, Reason> {
    let alignment = metadata.get("general.alignment").map_or(Some(ALIGNMENT), Value::unsigned);
    let alignment = alignment.and_then(|alignment| usize::try_from(alignment).ok());
    alignment.filter(|alignment| alignment.is_power_of_two()).ok_or("general.alignment must be a power of two".into())
}

/// What a file says of a tensor.
struct Info<'a> {
    name: &'a str,
    /// Innermost first.
    dimensions: Vec<u64>,
    kind: u32,
    /// From where tensors begin.
    offset: u64,
}

impl<'a> Info<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Info<'a>, Reason> {
        let name = cursor.text()?;
        let count = cursor.u32()?;
        if !(1..=DIMENSIONS_MAX).contains(&count) {
            return Err(format!("tensor {name} has {count} dimensions; 1 to {DIMENSIONS_MAX} are read"));
        }
        let dimensions = (0..count).map(|_| cursor.u64()).collect::<Result<_, _>>()?;
        Ok(Info { name, dimensions, kind: cursor.u32()?, offset: cursor.u64()? })
    }

    fn entry(&self, start: usize, alignment: usize, file_bytes: usize) -> Result<Entry, Reason> {
        let Info { name, dimensions, kind, offset } = self;
        let dtype = dtype(*kind).ok_or_else(|| format!("tensor {name} is stored as {}", kind_name(*kind)))?;
        let shape = dimensions.iter().rev().map(|dimension| usize::try_from(*dimension).ok().filter(|d| *d > 0));
        let shape: Option<Vec<usize>> = shape.collect();
        let sized = shape.and_then(|shape| {
            let columns = *shape.last()?;
            let rows = shape[..shape.len() - 1].iter().try_fold(1usize, |rows, count| rows.checked_mul(*count))?;
            // Blocks never span rows.
            Some((dtype.bytes_of(columns)?.checked_mul(rows)?, shape))
        });
        let (length, shape) = sized.ok_or_else(|| format!("tensor {name} has shape {dimensions:?} in {dtype:?}"))?;
        let from = usize::try_from(*offset).ok().filter(|offset| offset.is_multiple_of(alignment));
        let from = from.ok_or_else(|| format!("tensor {name} begins at {offset}, off its alignment of {alignment}"))?;
        let from = from.checked_add(start);
        let range = from.and_then(|from| Some(from..from.checked_add(length)?)).filter(|range| range.end <= file_bytes);
        let bytes = range.ok_or_else(|| format!("it ends at byte {file_bytes}, before the end of tensor {name}"))?;
        Ok(Entry { shape, dtype, bytes })
    }
}

/// ggml's numbers for the types we read.
fn dtype(kind: u32) -> Option<DType> {
    Some(match kind {
        0 => DType::F32,
        1 => DType::F16,
        2 => DType::Q4_0,
        3 => DType::Q4_1,
        6 => DType::Q5_0,
        7 => DType::Q5_1,
        8 => DType::Q8_0,
        12 => DType::Q4K,
        13 => DType::Q5K,
        14 => DType::Q6K,
        30 => DType::Bf16,
        _ => return None,
    })
}

fn kind_name(kind: u32) -> String {
    let name = match kind {
        10 => "Q2_K",
        11 => "Q3_K",
        15 => "Q8_K",
        16..=23 | 29 => "one of the IQ types",
        24..=28 => "integers or doubles",
        34 | 35 => "a ternary type",
        39 => "MXFP4",
        _ => "a type unknown to us",
    };
    format!("{name} (type {kind}); F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K are read")
}
