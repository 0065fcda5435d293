//! Writes a checkpoint made up from a seed, in Hugging Face layout, so that tests and demos need no download.
//!
//! The weights are random: the model's text means nothing, but everything around it is real: a byte-level BPE
//! trained on `synth/corpus.txt`, a chat template, special tokens. The same request writes the same bytes on every
//! platform: numbers come from ChaCha8 by integer sums and one multiplication, with no library function between.

mod files;
mod tokenizer;
mod weights;

use std::path::PathBuf;

use engine_backend::Heads;
use serde_json::{Map, Value};

use crate::{Architecture, LoadError};

/// How big the model is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// About 0.2 M parameters; thousands of tokens a second.
    #[default]
    Tiny,
    /// About 14 M parameters.
    Small,
    /// About 80 M parameters.
    Base,
}

impl Preset {
    /// Smallest first.
    pub const ALL: [Preset; 3] = [Preset::Tiny, Preset::Small, Preset::Base];

    /// What a command line calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Preset::Tiny => "tiny",
            Preset::Small => "small",
            Preset::Base => "base",
        }
    }

    fn size(self) -> Size {
        match self {
            Preset::Tiny => Size {
                vocab_max: 1024,
                hidden: 64,
                intermediate: 160,
                layers: 2,
                heads: Heads { query: 4, kv: 2, dim: 16 },
                context: 2048,
            },
            Preset::Small => Size {
                vocab_max: 2048,
                hidden: 384,
                intermediate: 1024,
                layers: 8,
                heads: Heads { query: 6, kv: 2, dim: 64 },
                context: 4096,
            },
            Preset::Base => Size {
                vocab_max: 2048,
                hidden: 768,
                intermediate: 2048,
                layers: 12,
                heads: Heads { query: 12, kv: 4, dim: 64 },
                context: 8192,
            },
        }
    }
}

/// A preset in numbers.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// The tokenizer is trained up to this many tokens; the model has as many as came out.
    vocab_max: usize,
    hidden: usize,
    intermediate: usize,
    layers: usize,
    heads: Heads,
    context: usize,
}

/// How a made-up checkpoint stores its weights: each number by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an IEEE single.
    Bf16,
}

impl PlainType {
    const fn bytes(self) -> usize {
        match self {
            PlainType::F32 => 4,
            PlainType::F16 | PlainType::Bf16 => 2,
        }
    }
}

/// What to write, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synth {
    /// A directory: absent, empty, or holding nothing but an earlier run's files of the same names.
    pub out: PathBuf,
    /// How big the model is.
    pub preset: Preset,
    /// Another seed, other weights; the tokenizer is always the same.
    pub seed: u64,
    /// How weights are stored.
    pub dtype: PlainType,
    /// Which layers.
    pub architecture: Architecture,
    /// Fields of config.json that are to be there too, or otherwise.
    pub fields: Map<String, Value>,
    /// Whether the head reuses the embedding. Tied random embeddings make greedy decoding repeat one token.
    pub tied_embeddings: bool,
    /// Above this many bytes the weights are split into shards with an index.
    pub shard_bytes_max: Option<usize>,
}

impl Synth {
    /// A Llama of that size in bf16, one file, seed 0.
    pub fn new(out: impl Into<PathBuf>, preset: Preset) -> Synth {
        Synth {
            out: out.into(),
            preset,
            seed: 0,
            dtype: PlainType::Bf16,
            architecture: Architecture::Llama,
            fields: Map::new(),
            tied_embeddings: false,
            shard_bytes_max: None,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synthesised {
    /// Numbers in all tensors together.
    pub parameters: usize,
    /// Tokens in the vocabulary.
    pub vocab: usize,
    /// In the order they were written; config.json is the last, so its presence means the rest is there.
    pub files: Vec<PathBuf>,
}

/// Why nothing (or not everything) was written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// The directory belongs to something else.
    #[error("{} holds {found}, which is not ours to keep or replace: choose an empty directory", out.display())]
    OutNotEmpty {
        /// The directory.
        out: PathBuf,
        /// A file in it.
        found: String,
    },
    /// The disk said no.
    #[error("write {}: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The fields asked for make no model.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// A library could not make its file.
    #[error("make {what}: {reason}")]
    Make {
        /// The file.
        what: &'static str,
        /// In the library's words.
        reason: String,
    },
}

/// Writes a checkpoint.
pub fn synth(wanted: &Synth) -> Result<Synthesised, SynthError> {
    let size = wanted.preset.size();
    let tokenizer = tokenizer::train(size.vocab_max)?;
    let config = files::config(wanted, size, tokenizer.vocab);
    let tensors = weights::tensors(wanted, &config)?;
    let parameters = tensors.iter().map(weights::Tensor::len).sum();
    let mut files = weights::files(wanted, tensors)?;
    files.extend(tokenizer.files());
    files.push(files::generation_config());
    files.push(files::config_file(config));
    let files = files::write(&wanted.out, files)?;
    Ok(Synthesised { parameters, vocab: tokenizer.vocab, files })
}
