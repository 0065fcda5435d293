//! What a completion cost, in tokens.

use serde::{Deserialize, Serialize};

/// Tokens of one completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens.
    pub prompt_tokens: u32,
    /// Output tokens, the one that ended the output included.
    #[serde(default)]
    pub completion_tokens: u32,
    /// Both.
    pub total_tokens: u32,
    /// More about the prompt's.
    #[serde(default)]
    pub prompt_tokens_details: Option<PromptTokensDetails>,
}

/// More about the prompt's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptTokensDetails {
    /// Answered from the prefix cache.
    #[serde(default)]
    pub cached_tokens: u32,
}

impl Usage {
    /// Sums up; `cached_tokens` of the prompt came from the prefix cache.
    pub fn of(prompt_tokens: u32, cached_tokens: u32, completion_tokens: u32) -> Usage {
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            prompt_tokens_details: Some(PromptTokensDetails { cached_tokens }),
        }
    }
}
