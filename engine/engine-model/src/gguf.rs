//! GGUF, versions 2 and 3: one file with a model's description, tokenizer and tensors.
//!
//! The format is described in ggml's docs/gguf.md. A file is never trusted: every length is checked against what is
//! left of the file before anything is read or allocated, and nothing here can panic on its bytes.

mod config;
mod cursor;
mod file;
mod names;
mod rows;
mod text;
mod tokenizer;
mod value;
mod weights;

pub use file::Gguf;
pub use text::GgufText;
pub(crate) use weights::GgufWeights;
