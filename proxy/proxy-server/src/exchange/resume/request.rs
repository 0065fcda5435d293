//! Writes the request that continues a stream, out of the one that began it.

use dispatch::{Resumed, Sampling};
use openai_api::CONTINUATION_FIELD;

use crate::exchange::read_request::Endpoint;
use crate::exchange::resume::seam::Kept;
use crate::wire::RawFields;

/// Output tokens of a completion that names no bound, as OpenAI has it.
const COMPLETION_TOKENS_DEFAULT: u32 = 16;

/// What makes an answer more than one text.
const NOT_PLAIN: [&str; 16] = [
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "tools",
    "functions",
    "response_format",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "echo",
    "suffix",
    "use_beam_search",
    "continue_final_message",
    "return_token_ids",
];

/// What makes a token depend on the output before it by more than the model.
const LOOKS_BACK: [&str; 4] = ["frequency_penalty", "presence_penalty", "min_tokens", "logits_processors"];

/// How the request wants tokens to be chosen, as far as a continuation by text is concerned.
pub(super) fn sampling(fields: &RawFields<'_>) -> Sampling {
    let greedy = fields.number("temperature") == Some(0.0) || fields.number("top_k") == Some(1.0);
    let plain = LOOKS_BACK.iter().all(|name| fields.is_nothing(name))
        && fields.number("repetition_penalty").is_none_or(|penalty| penalty == 1.0);
    if greedy && plain { Sampling::Greedy } else { Sampling::Drawn }
}

/// The body that continues from what was kept.
pub(super) fn continuing(endpoint: Endpoint, fields: &RawFields<'_>, kept: &Kept) -> Result<Vec<u8>, Resumed> {
    let one = |name: &str| fields.number(name).is_none_or(|count| count == 1.0);
    // `"logprobs": 0` asks a completion for the chosen tokens' own.
    let plain = NOT_PLAIN.iter().all(|name| fields.is_nothing(name)) && fields.get("logprobs") != Some("0");
    if !one("n") || !one("best_of") || !plain {
        return Err(Resumed::Shape);
    }
    match kept {
        Kept::Tokens(kept) => {
            let begun = serde_json::to_string(&kept.begun).expect("the type has string keys");
            Ok(fields.with(&[(CONTINUATION_FIELD, begun)]))
        }
        Kept::Text(kept) => by_text(endpoint, fields, &kept.text, kept.outputs).ok_or(Resumed::Shape),
    }
}

fn by_text(endpoint: Endpoint, fields: &RawFields<'_>, text: &str, outputs: u32) -> Option<Vec<u8>> {
    let mut changes = Vec::new();
    let mut is_bound = false;
    for name in ["max_tokens", "max_completion_tokens"] {
        if let Some(max) = fields.get(name) {
            changes.push((name, left(max.parse().ok()?, outputs)?.to_string()));
            is_bound = true;
        }
    }
    let quoted = |text: &str| serde_json::to_string(text).expect("a text is JSON");
    match endpoint {
        Endpoint::Completions => {
            let prompt: String = serde_json::from_str(fields.get("prompt")?).ok()?;
            changes.push(("prompt", quoted(&(prompt + text))));
            if !is_bound {
                changes.push(("max_tokens", left(COMPLETION_TOKENS_DEFAULT, outputs)?.to_string()));
            }
        }
        Endpoint::Chat if outputs > 0 => {
            let messages = fields.get("messages")?.trim_end().strip_suffix(']')?;
            let reply = quoted(text);
            let comma = if messages.trim() == "[" { "" } else { "," };
            changes.push(("messages", format!("{messages}{comma}{{\"role\":\"assistant\",\"content\":{reply}}}]")));
            changes.push(("continue_final_message", "true".to_owned()));
            changes.push(("add_generation_prompt", "false".to_owned()));
        }
        Endpoint::Chat => {}
        Endpoint::Embeddings | Endpoint::Responses | Endpoint::Messages | Endpoint::Rerank | Endpoint::Other => {
            return None;
        }
    }
    Some(fields.with(&changes))
}

/// What is left of the bound; a replica that said so much had room for more.
fn left(max: u32, outputs: u32) -> Option<u32> {
    max.checked_sub(outputs).filter(|left| *left > 0)
}

#[cfg(test)]
mod tests;
