//! The endpoints whose requests the proxy reads, and where in them the prompt stands.

/// What is asked of the data port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Embeddings,
    Responses,
    /// Anthropic's.
    Messages,
    Rerank,
    /// Any other path below `/v1/`; relayed as it is.
    Other,
}

/// Parts of a prompt that stand under keys of their own.
pub(super) const PARTS: usize = 2;

impl Endpoint {
    pub fn of(path: &str) -> Endpoint {
        match path {
            "/v1/chat/completions" => Endpoint::Chat,
            "/v1/completions" => Endpoint::Completions,
            "/v1/embeddings" => Endpoint::Embeddings,
            "/v1/responses" => Endpoint::Responses,
            "/v1/messages" => Endpoint::Messages,
            "/v1/rerank" | "/v2/rerank" | "/rerank" => Endpoint::Rerank,
            _ => Endpoint::Other,
        }
    }

    /// `gen_ai.operation.name`, and the span's name.
    pub fn operation(self) -> &'static str {
        match self {
            Endpoint::Chat | Endpoint::Responses | Endpoint::Messages => "chat",
            Endpoint::Completions => "text_completion",
            Endpoint::Embeddings => "embeddings",
            Endpoint::Rerank => "rerank",
            Endpoint::Other => "request",
        }
    }

    /// Whether its answers have tokens that are made for them.
    pub fn makes_tokens(self) -> bool {
        matches!(self, Endpoint::Chat | Endpoint::Completions | Endpoint::Responses | Endpoint::Messages)
    }

    /// Whether its streams say `[DONE]` before they end.
    pub fn says_done(self) -> bool {
        matches!(self, Endpoint::Chat | Endpoint::Completions)
    }

    /// Which part of the prompt stands under this key: system words come before the rest, whatever the keys' order.
    pub(super) fn part(self, key: &str) -> Option<usize> {
        match (self, key) {
            (Endpoint::Chat, "messages")
            | (Endpoint::Completions, "prompt")
            | (Endpoint::Embeddings, "input")
            | (Endpoint::Responses, "instructions")
            | (Endpoint::Messages, "system")
            | (Endpoint::Rerank, "query")
            | (Endpoint::Other, "messages" | "prompt" | "input") => Some(0),
            (Endpoint::Responses, "input")
            | (Endpoint::Messages, "messages")
            | (Endpoint::Rerank, "documents" | "texts") => Some(1),
            _ => None,
        }
    }
}
