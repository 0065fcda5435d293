//! What transformers said of a model, as the scripts in `golden/` write it down.

use std::path::Path;

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Golden {
    pub prompts: Vec<Recorded>,
}

#[derive(Deserialize)]
pub struct Recorded {
    pub text: String,
    pub prompt: Vec<u32>,
    pub greedy: Vec<u32>,
    /// The vocabulary entries whose logits were recorded.
    pub entries: Vec<usize>,
    pub logits: Vec<RecordedLogits>,
}

#[derive(Deserialize)]
pub struct RecordedLogits {
    pub position: usize,
    pub values: Vec<f32>,
}

impl Golden {
    /// Reads one.
    pub fn read(path: &Path) -> Golden {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}
