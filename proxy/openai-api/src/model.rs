//! `/v1/models`: what is served.

use serde::{Deserialize, Serialize};

/// The answer of `GET /v1/models`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelList {
    /// `list`.
    pub object: String,
    /// The models.
    pub data: Vec<ModelCard>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Its name in requests.
    pub id: String,
    /// `model`.
    pub object: String,
    /// Unix seconds.
    #[serde(default)]
    pub created: u64,
    /// Who serves it.
    #[serde(default)]
    pub owned_by: String,
    /// Longest prompt plus output, in tokens. An extension that other servers share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_model_len: Option<u32>,
}

impl ModelList {
    /// A list of models.
    pub fn of(data: Vec<ModelCard>) -> ModelList {
        ModelList { object: "list".to_owned(), data }
    }
}
