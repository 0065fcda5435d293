//! Reads the few OpenAI fields the proxy needs out of request and answer bytes, without building a JSON tree.
//!
//! The only room of the proxy that knows OpenAI's JSON, and Anthropic's. What it does not need it skips over, and what it reads it never
//! writes back: the bytes themselves travel on.

mod answer;
mod endpoint;
mod models;
mod request;
mod scan;
mod stream;

pub(crate) use answer::{AnswerFields, Usage, read_answer, read_event};
pub(crate) use endpoint::Endpoint;
pub(crate) use models::{Model, ModelList, read_models};
pub(crate) use request::{BadBody, RequestFields, read_request_fields};
pub(crate) use stream::{RawFields, StreamEvent, edited, read_stream_event, span_of};

/// Bytes of a model's name, and of a client's text that is kept in records and spans or told back to it.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// The start of a text that is too long to keep.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(NAME_BYTES_MAX)]
}

#[cfg(test)]
mod tests;
