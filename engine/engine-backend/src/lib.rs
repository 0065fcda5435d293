//! What a model asks of a device: a dozen LLM-sized operations, and the plain types they share.

mod backend;
mod batch;
mod error;
mod source;

pub use backend::{Backend, Heads, KvShape, Norm, Rope, Shape};
pub use batch::{ForwardBatch, ForwardSequence, LogitsWanted};
pub use error::Error;
pub use source::{DType, Source, SourcePart};
