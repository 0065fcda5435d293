//! Writes output in the shape of the endpoint that was asked: whole, or chunk by chunk.

use openai_api::{
    ChatChoice, ChatChunk, ChatChunkChoice, ChatDelta, ChatLogprobs, ChatReply, ChatResponse, CompletionChoice,
    CompletionLogprobs, CompletionResponse, Delivery, FinishReason, Role, Usage, frame,
};
use serde::Serialize;

use crate::generation::Progress;
use crate::output::{Logprob, Piece};

/// Which endpoint was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
}

/// Whether the client asked for log probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logprobs {
    Wanted,
    Unwanted,
}

/// One answer being written.
pub(crate) struct Answer {
    pub endpoint: Endpoint,
    pub id: String,
    /// Unix seconds.
    pub created: u64,
    /// The client has the opening already.
    pub opened: bool,
    pub model: String,
    pub delivery: Delivery,
    pub logprobs: Logprobs,
}

impl Endpoint {
    /// As metrics label it.
    pub fn name(self) -> &'static str {
        match self {
            Endpoint::Chat => "chat",
            Endpoint::Completions => "completions",
        }
    }

    /// As the GenAI conventions name the operation; also the span's name.
    pub fn operation(self) -> &'static str {
        match self {
            Endpoint::Chat => "chat",
            Endpoint::Completions => "text_completion",
        }
    }

    pub fn id_prefix(self) -> &'static str {
        match self {
            Endpoint::Chat => "chatcmpl-",
            Endpoint::Completions => "cmpl-",
        }
    }
}

impl Answer {
    /// The one body of an answer that is not streamed.
    pub fn whole(self, piece: Piece, finish: FinishReason, usage: Usage) -> Vec<u8> {
        let Piece { text, logprobs } = piece;
        match self.endpoint {
            Endpoint::Chat => {
                let logprobs = self.chat_logprobs(logprobs);
                let message = ChatReply { role: Role::Assistant, content: text, refusal: None };
                json(&ChatResponse {
                    id: self.id,
                    object: "chat.completion".to_owned(),
                    created: self.created,
                    model: self.model,
                    choices: vec![ChatChoice { index: 0, message, logprobs, finish_reason: finish }],
                    usage,
                })
            }
            Endpoint::Completions => {
                let choice = self.completion_choice(Piece { text, logprobs }, Some(finish));
                json(&self.completion(vec![choice], Some(Some(usage))))
            }
        }
    }

    /// What a stream begins with, sent with its first text.
    pub fn opening(&self) -> Vec<u8> {
        match self.endpoint {
            Endpoint::Chat => {
                let delta = ChatDelta { role: Some(Role::Assistant), content: Some(String::new()) };
                self.chat_frame(vec![chat_choice(delta, None, None)], self.no_usage_yet())
            }
            Endpoint::Completions => Vec::new(),
        }
    }

    /// The frames of one progress.
    pub fn frames(&self, progress: Progress) -> Vec<u8> {
        let Progress { piece, finish } = progress;
        match self.endpoint {
            Endpoint::Chat => {
                let mut frames = Vec::new();
                if !piece.is_empty() {
                    let delta = ChatDelta { role: None, content: Some(piece.text) };
                    let choice = chat_choice(delta, self.chat_logprobs(piece.logprobs), None);
                    frames = self.chat_frame(vec![choice], self.no_usage_yet());
                }
                if finish.is_some() {
                    let choice = chat_choice(ChatDelta::default(), None, finish);
                    frames.extend(self.chat_frame(vec![choice], self.no_usage_yet()));
                }
                frames
            }
            Endpoint::Completions => {
                frame(&self.completion(vec![self.completion_choice(piece, finish)], self.no_usage_yet()))
            }
        }
    }

    /// What comes between the last choice and the end of a stream.
    pub fn closing(&self, usage: Usage) -> Vec<u8> {
        match (self.delivery, self.endpoint) {
            (Delivery::StreamWithUsage, Endpoint::Chat) => self.chat_frame(Vec::new(), Some(Some(usage))),
            (Delivery::StreamWithUsage, Endpoint::Completions) => {
                frame(&self.completion(Vec::new(), Some(Some(usage))))
            }
            (Delivery::Stream | Delivery::Whole, _) => Vec::new(),
        }
    }

    /// `usage` of every chunk but the last: null when the client asked for usage, else absent.
    fn no_usage_yet(&self) -> Option<Option<Usage>> {
        (self.delivery == Delivery::StreamWithUsage).then_some(None)
    }

    fn chat_frame(&self, choices: Vec<ChatChunkChoice>, usage: Option<Option<Usage>>) -> Vec<u8> {
        frame(&ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk".to_owned(),
            created: self.created,
            model: self.model.clone(),
            choices,
            usage,
        })
    }

    fn chat_logprobs(&self, logprobs: Vec<Logprob>) -> Option<ChatLogprobs> {
        let content = logprobs.into_iter().map(|logprob| logprob.token).collect();
        (self.logprobs == Logprobs::Wanted).then_some(ChatLogprobs { content, refusal: None })
    }

    fn completion(&self, choices: Vec<CompletionChoice>, usage: Option<Option<Usage>>) -> CompletionResponse {
        CompletionResponse {
            id: self.id.clone(),
            object: "text_completion".to_owned(),
            created: self.created,
            model: self.model.clone(),
            choices,
            usage,
        }
    }

    fn completion_choice(&self, piece: Piece, finish_reason: Option<FinishReason>) -> CompletionChoice {
        let logprobs = (self.logprobs == Logprobs::Wanted).then(|| {
            let mut columns = CompletionLogprobs::default();
            for Logprob { text_offset, token } in piece.logprobs {
                columns.push(text_offset, token);
            }
            columns
        });
        CompletionChoice { index: 0, text: piece.text, logprobs, finish_reason }
    }
}

fn chat_choice(
    delta: ChatDelta,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<FinishReason>,
) -> ChatChunkChoice {
    ChatChunkChoice { index: 0, delta, logprobs, finish_reason }
}

fn json(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("the wire types have string keys")
}
