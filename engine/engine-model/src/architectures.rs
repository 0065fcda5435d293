//! The architectures we know: a file each, which says how it differs from Llama.
//!
//! docs/models.md says how to add one.

mod gemma2;
mod gemma3;
mod llama;
mod mistral;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;

use crate::config::Fields;
use crate::{LoadError, ModelConfig};

/// Which family of layers a checkpoint holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3, dense.
    Qwen3,
    /// Qwen 3 with experts.
    Qwen3Moe,
    /// Gemma 2.
    Gemma2,
    /// Gemma 3, text only.
    Gemma3,
    /// Phi 3 and 4.
    Phi3,
}

/// An architecture's names, and what it changes of a Llama's description.
struct Family {
    /// As `architectures` in config.json spells it.
    name: &'static str,
    /// `model_type` in config.json.
    model_type: &'static str,
    /// As `general.architecture` in GGUF spells it.
    gguf: &'static str,
    describe: fn(&Fields, &mut ModelConfig) -> Result<(), LoadError>,
}

impl Architecture {
    /// In the order they are listed to people.
    pub const ALL: [Architecture; 8] = [
        Architecture::Llama,
        Architecture::Mistral,
        Architecture::Qwen2,
        Architecture::Qwen3,
        Architecture::Qwen3Moe,
        Architecture::Gemma2,
        Architecture::Gemma3,
        Architecture::Phi3,
    ];

    const fn family(self) -> &'static Family {
        match self {
            Architecture::Llama => &llama::FAMILY,
            Architecture::Mistral => &mistral::FAMILY,
            Architecture::Qwen2 => &qwen2::FAMILY,
            Architecture::Qwen3 => &qwen3::FAMILY,
            Architecture::Qwen3Moe => &qwen3_moe::FAMILY,
            Architecture::Gemma2 => &gemma2::FAMILY,
            Architecture::Gemma3 => &gemma3::FAMILY,
            Architecture::Phi3 => &phi3::FAMILY,
        }
    }

    /// As `architectures` in config.json spells it.
    pub const fn name(self) -> &'static str {
        self.family().name
    }

    /// `model_type` in config.json.
    pub const fn model_type(self) -> &'static str {
        self.family().model_type
    }

    /// The architecture that a GGUF file calls so.
    pub(crate) fn of_gguf(name: &str) -> Option<Architecture> {
        Architecture::ALL.into_iter().find(|known| known.family().gguf == name)
    }

    pub(crate) fn of(fields: &Fields) -> Result<Architecture, LoadError> {
        let found = fields.first_text("architectures")?;
        let known = Architecture::ALL.into_iter().find(|known| known.name() == found);
        known.ok_or_else(|| LoadError::ArchitectureUnsupported {
            path: fields.path().to_owned(),
            found,
            supported: Architecture::ALL.map(Architecture::name).to_vec(),
        })
    }

    /// As GGUF files spell those we read.
    pub(crate) fn gguf_names() -> Vec<&'static str> {
        let mut names: Vec<&str> = Architecture::ALL.iter().map(|known| known.family().gguf).collect();
        names.dedup();
        names
    }

    /// Changes a Llama's description into this architecture's.
    pub(crate) fn describe(self, fields: &Fields, config: &mut ModelConfig) -> Result<(), LoadError> {
        (self.family().describe)(fields, config)
    }
}
