//! The OpenAI wire format as types: requests, responses, stream frames, errors, and our replicas' `/state`. serde only.

mod chat;
mod completion;
mod continuation;
mod error;
mod fields;
mod frame;
mod logprobs;
mod model;
mod options;
mod state;
mod usage;

pub use chat::{
    ChatChoice, ChatChunk, ChatChunkChoice, ChatDelta, ChatReply, ChatRequest, ChatResponse, MODEL_BYTES_MAX, Message,
    Role,
};
pub use completion::{CompletionChoice, CompletionRequest, CompletionResponse, Prompt};
pub use continuation::{CONTINUATION_FIELD, Continuation, PRODUCED_HEADER, PRODUCED_PREFIX, Produced};
pub use error::{ErrorBody, ErrorObject};
pub use frame::{DONE_FRAME, frame};
pub use logprobs::{ChatLogprobs, ChatTokenLogprob, CompletionLogprobs, TokenLogprob};
pub use model::{ModelCard, ModelList};
pub use options::{Delivery, FinishReason, Options, STOP_STRINGS_MAX, Sampling};
pub use state::ReplicaState;
pub use usage::{PromptTokensDetails, Usage};

#[cfg(test)]
mod tests;
