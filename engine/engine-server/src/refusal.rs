//! What a client is told when it does not get what it asked for: a status, and an error of OpenAI's shape.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use openai_api::ErrorBody;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    pub body: ErrorBody,
    retry_after_s: Option<u32>,
}

/// When a client that met a full queue may come again. A step takes milliseconds; a second keeps a crowd apart.
const RETRY_AFTER_S: u32 = 1;

/// Longest part of a client's text that an error repeats.
const SHOWN_BYTES_MAX: usize = 256;

impl Refusal {
    fn of(status: StatusCode, body: ErrorBody) -> Refusal {
        Refusal { status, body, retry_after_s: None }
    }

    pub fn no_such_model(asked: &str, served: &str) -> Refusal {
        let asked = cut(asked);
        let message = format!("The model '{asked}' is not served here; this server serves '{served}'.");
        let body = ErrorBody::invalid_request(message).param("model").code("model_not_found");
        Refusal::of(StatusCode::NOT_FOUND, body)
    }

    pub fn no_such_path(path: &str) -> Refusal {
        let path = cut(path);
        let message = format!(
            "There is nothing at '{path}'; the API is under /v1/chat/completions, /v1/completions and /v1/models."
        );
        Refusal::of(StatusCode::NOT_FOUND, ErrorBody::invalid_request(message).code("not_found"))
    }

    pub fn wrong_method(method: &str, path: &str) -> Refusal {
        let (method, path) = (cut(method), cut(path));
        let message = format!("{method} does not work on '{path}'; the Allow header names what does.");
        Refusal::of(StatusCode::METHOD_NOT_ALLOWED, ErrorBody::invalid_request(message).code("method_not_allowed"))
    }

    pub fn body_too_large(bytes_max: usize) -> Refusal {
        let message = format!("The request body is larger than {bytes_max} bytes; send less.");
        Refusal::of(StatusCode::PAYLOAD_TOO_LARGE, ErrorBody::invalid_request(message).code("body_too_large"))
    }

    pub fn body_too_slow(seconds: u64) -> Refusal {
        let message = format!("The request body did not arrive within {seconds} s; send it faster.");
        Refusal::of(StatusCode::REQUEST_TIMEOUT, ErrorBody::invalid_request(message).code("body_too_slow"))
    }

    pub fn body_broken() -> Refusal {
        ErrorBody::invalid_request("The request body broke off; send it whole.").into()
    }

    pub fn context_exceeded(exceeded: Exceeded, param: &str) -> Refusal {
        let Exceeded { prompt_tokens, output_tokens, context_tokens_max } = exceeded;
        let asked = match output_tokens {
            Some(output) => format!(
                "{} tokens ({prompt_tokens} in the prompt, {output} for the output)",
                u64::from(prompt_tokens) + u64::from(output)
            ),
            None => format!("a prompt of {prompt_tokens} tokens, which leaves no room for output"),
        };
        let message = format!(
            "This model's context is {context_tokens_max} tokens, but you asked for {asked}. Shorten the prompt or the output."
        );
        ErrorBody::invalid_request(message).param(param).code("context_length_exceeded").into()
    }

    /// The same, told by a prompt's bytes before its tokens are known.
    pub fn prompt_exceeds(tokens_least: usize, context_tokens_max: u32, param: &str) -> Refusal {
        let message = format!(
            "This model's context is {context_tokens_max} tokens, but you asked for a prompt of at least {tokens_least} tokens, which leaves no room for output. Shorten the prompt."
        );
        ErrorBody::invalid_request(message).param(param).code("context_length_exceeded").into()
    }

    pub fn busy(what: &str, max: usize) -> Refusal {
        let message = format!("The server is full: {max} {what}. Try again in {RETRY_AFTER_S} s.");
        let body = ErrorBody::of("server_error", message).code("overloaded");
        Refusal { retry_after_s: Some(RETRY_AFTER_S), ..Refusal::of(StatusCode::SERVICE_UNAVAILABLE, body) }
    }

    pub fn stopping() -> Refusal {
        let body = ErrorBody::server("The server is stopping; ask another one.").code("stopping");
        Refusal { retry_after_s: Some(RETRY_AFTER_S), ..Refusal::of(StatusCode::SERVICE_UNAVAILABLE, body) }
    }

    pub fn failed(message: impl Into<String>) -> Refusal {
        Refusal::of(StatusCode::INTERNAL_SERVER_ERROR, ErrorBody::server(message))
    }
}

/// A client's text as an error repeats it: its beginning.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)]
}

/// The numbers of a request that does not fit.
pub(crate) struct Exceeded {
    pub prompt_tokens: u32,
    /// None: the prompt alone is too long.
    pub output_tokens: Option<u32>,
    pub context_tokens_max: u32,
}

impl From<ErrorBody> for Refusal {
    fn from(body: ErrorBody) -> Refusal {
        Refusal::of(StatusCode::BAD_REQUEST, body)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/json")], self.body.to_json()).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
