//! What a model asks of a device: a dozen LLM-sized operations, and the plain types they share.

mod backend;
mod batch;
mod decode;
mod dtype;
mod encode;
mod error;
mod source;

pub use backend::{Attention, Backend, Experts, Gate, Heads, KvShape, Norm, Rope, Routing, RoutingWeights, Shape};
pub use batch::{ForwardBatch, ForwardSequence, LogitsWanted};
pub use dtype::DType;
pub use error::Error;
pub use source::{Source, SourcePart};
