//! Why a checkpoint could not be loaded: always names the file, and the field or tensor at fault.

use std::path::PathBuf;

/// What is wrong with a checkpoint directory.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is absent or unreadable.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A JSON file is not JSON, or not an object.
    #[error("{} is not a JSON object: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A field of a JSON file is missing.
    #[error("{}: field \"{field}\" is missing", path.display())]
    FieldMissing {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
    },
    /// A field of a JSON file has a value we cannot use.
    #[error("{}: field \"{field}\" must be {expected}, it is {found}", path.display())]
    FieldWrong {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What we can use.
        expected: String,
        /// What is there, as JSON.
        found: String,
    },
    /// A model we do not know.
    #[error(
        "{}: architecture {found} is not supported; supported are {}",
        path.display(),
        supported.join(", ")
    )]
    ArchitectureUnsupported {
        /// The file.
        path: PathBuf,
        /// What the file asks for.
        found: String,
        /// What we have.
        supported: Vec<&'static str>,
    },
    /// There are no weights in the directory.
    #[error("{}: neither model.safetensors nor model.safetensors.index.json is there", dir.display())]
    NoWeights {
        /// The directory.
        dir: PathBuf,
    },
    /// A weights file is truncated or not safetensors.
    #[error("{} is not a whole safetensors file: {reason}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A tensor is absent.
    #[error("{}: tensor {name} is missing (expected shape {expected:?})", path.display())]
    TensorMissing {
        /// The file it should be in.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape config.json implies.
        expected: Vec<usize>,
    },
    /// A tensor's shape contradicts config.json.
    #[error("{}: tensor {name} has shape {found:?}, the model's description implies {expected:?}", path.display())]
    TensorShape {
        /// The file it is in.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape config.json implies.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A tensor's number type is none we read.
    #[error("{}: tensor {name} is stored as {found}; it must be one of {expected}", path.display())]
    TensorType {
        /// The file it is in.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
        /// The types we read there.
        expected: &'static str,
    },
    /// A tensor holds what is no number.
    #[error("{}: tensor {name} holds a NaN or an infinity; the file is damaged or was converted wrongly", path.display())]
    NotFinite {
        /// The file it is in.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A quantised layer contradicts itself.
    #[error("{}: {reason}", path.display())]
    Quantised {
        /// The file it is in.
        path: PathBuf,
        /// What is wrong with which layer.
        reason: String,
    },
    /// A GGUF file is truncated, or contradicts itself.
    #[error("{} is not a GGUF file we can read: {reason}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// The device has no room for it, or failed.
    #[error("{what}: {source}")]
    Backend {
        /// What was being stored.
        what: String,
        /// Why not.
        source: engine_backend::Error,
    },
}
