//! The error body every OpenAI client knows: `{"error":{"message","type","param","code"}}`.

use serde::{Deserialize, Serialize};

/// An error as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The only member.
    pub error: ErrorObject,
}

/// What went wrong and what to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorObject {
    /// For the reader: what to change.
    pub message: String,
    /// `invalid_request_error`, `authentication_error`, `rate_limit_error`, `server_error`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The field at fault.
    pub param: Option<String>,
    /// A word a program can match.
    pub code: Option<String>,
}

impl ErrorBody {
    /// The client's fault.
    pub fn invalid_request(message: impl Into<String>) -> ErrorBody {
        ErrorBody::of("invalid_request_error", message)
    }

    /// Our fault, or a replica's.
    pub fn server(message: impl Into<String>) -> ErrorBody {
        ErrorBody::of("server_error", message)
    }

    /// An error of any type.
    pub fn of(kind: &str, message: impl Into<String>) -> ErrorBody {
        ErrorBody { error: ErrorObject { message: message.into(), kind: kind.to_owned(), param: None, code: None } }
    }

    /// Names the field at fault.
    #[must_use]
    pub fn param(mut self, param: &str) -> ErrorBody {
        self.error.param = Some(param.to_owned());
        self
    }

    /// Adds a word a program can match.
    #[must_use]
    pub fn code(mut self, code: &str) -> ErrorBody {
        self.error.code = Some(code.to_owned());
        self
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings always serialise")
    }
}
