//! Log probabilities in the two shapes that the two endpoints have.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One token and how likely it was, before either shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token's text; broken characters are replaced.
    pub token: String,
    /// Its natural log probability.
    pub logprob: f32,
    /// The token's own bytes: joined over tokens they give the text even where one token holds part of a character.
    pub bytes: Option<Vec<u8>>,
}

/// The chat endpoint's shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatLogprobs {
    /// One entry a token.
    pub content: Vec<ChatTokenLogprob>,
    /// Always null.
    pub refusal: Option<Vec<ChatTokenLogprob>>,
}

/// One output token in the chat endpoint's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatTokenLogprob {
    /// The chosen token.
    #[serde(flatten)]
    pub chosen: TokenLogprob,
    /// The likeliest tokens, likeliest first.
    pub top_logprobs: Vec<TokenLogprob>,
}

/// The completions endpoint's shape: columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompletionLogprobs {
    /// Where each token begins in the output, in characters.
    pub text_offset: Vec<u32>,
    /// Each chosen token's log probability.
    pub token_logprobs: Vec<f32>,
    /// Each chosen token's text.
    pub tokens: Vec<String>,
    /// For each position, text to log probability of the likeliest tokens and the chosen one.
    pub top_logprobs: Vec<Map<String, Value>>,
}

impl CompletionLogprobs {
    /// Adds one token that begins at a character of the output.
    pub fn push(&mut self, text_offset: u32, token: ChatTokenLogprob) {
        let ChatTokenLogprob { chosen, top_logprobs } = token;
        let mut top = Map::new();
        // Different tokens may share a text; the likeliest comes first and stays.
        for TokenLogprob { token, logprob, .. } in top_logprobs.into_iter().chain([chosen.clone()]) {
            top.entry(token).or_insert_with(|| Value::from(logprob));
        }
        self.text_offset.push(text_offset);
        self.token_logprobs.push(chosen.logprob);
        self.tokens.push(chosen.token);
        self.top_logprobs.push(top);
    }
}
