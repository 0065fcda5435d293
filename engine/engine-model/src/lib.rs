//! Decoder models from Hugging Face checkpoints and GGUF files, run on any backend; and checkpoints made up from a seed.
//!
//! ```no_run
//! # fn run<B: engine_backend::Backend>(backend: B) -> Result<(), Box<dyn std::error::Error>> {
//! use engine_backend::{ForwardBatch, LogitsWanted};
//! use engine_model::{LoadOptions, Model};
//!
//! let mut model = Model::load(backend, "checkpoint".as_ref(), &LoadOptions::default())?;
//! let mut batch = ForwardBatch::default();
//! batch.push(&[1, 2, 3], 0, [0], LogitsWanted::Yes);
//! let logits = model.forward(&batch)?;
//! let next = logits.row(0).iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
//! # let _ = next; Ok(()) }
//! ```

mod model;

mod architectures;
mod checkpoint;
mod config;
mod error;
mod gguf;
mod layers;
mod parameters;
mod quantised;
mod reader;
mod rope;
mod synth;
mod weights;

pub use architectures::Architecture;
pub use config::{ExpertsConfig, Gate, LayerAttention, ModelConfig, Norms, Projections, RopeConfig, RopeScaling};
pub use error::LoadError;
pub use gguf::{Gguf, GgufText};
pub use model::{LoadOptions, Logits, Model};
pub use quantised::{GroupPacking, Quantisation};
pub use synth::{PlainType, Preset, Synth, SynthError, Synthesised, synth};
