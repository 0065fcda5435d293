//! How many bytes of text one token can stand for, when that is bounded.

use serde_json::Value;
use tokenizers::models::ModelWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{Model, Tokenizer};

use super::Spelling;

/// NFC shortens no text more: U+1FBE U+0308 U+0301 (seven bytes) becomes U+0390 (two).
const NFC_SHRINKS_MAX: usize = 4;

/// Steps before the model that drop no text.
const STEPS_THAT_KEEP_TEXT: [&str; 9] =
    ["Sequence", "NFC", "Prepend", "Replace", "ByteLevel", "Metaspace", "Digits", "Split", "Punctuation"];

/// Most bytes of text that one token stands for. None: a step before the model may drop text, or a token for the
/// unknown or one that takes the spaces beside it may stand for text of any length.
pub(super) fn token_bytes_max(tokenizer: &Tokenizer, spelling: Spelling) -> Option<usize> {
    let normalizer = serde_json::to_value(tokenizer.get_normalizer()).ok()?;
    let pre_tokenizer = serde_json::to_value(tokenizer.get_pre_tokenizer()).ok()?;
    let turns_to_bytes = uses(&normalizer, "ByteLevel") || uses(&pre_tokenizer, "ByteLevel");
    let keeps_text = keeps_text(&normalizer)
        && keeps_text(&pre_tokenizer)
        && spells_every_byte(tokenizer, spelling)
        && turns_to_bytes == (spelling == Spelling::ByteLevel);
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    if !keeps_text || added.values().any(|token| token.lstrip || token.rstrip) {
        return None;
    }
    let in_model = tokenizer.get_model().get_vocab().into_keys().map(|spelt| match spelling {
        Spelling::ByteLevel => spelt.chars().count(),
        Spelling::Pieces => spelt.len(),
    });
    let longest = in_model.chain(added.values().map(|token| token.content.len())).max()?;
    let shrinks_max = if uses(&normalizer, "NFC") { NFC_SHRINKS_MAX } else { 1 };
    Some(longest.max(1) * shrinks_max)
}

/// Whether every text can be spelt without a token for the unknown.
fn spells_every_byte(tokenizer: &Tokenizer, spelling: Spelling) -> bool {
    let ModelWrapper::BPE(model) = tokenizer.get_model() else {
        return false;
    };
    match spelling {
        Spelling::ByteLevel => {
            ByteLevel::alphabet().into_iter().all(|char| model.token_to_id(&char.to_string()).is_some())
        }
        Spelling::Pieces => {
            model.byte_fallback && (0..=u8::MAX).all(|byte| model.token_to_id(&format!("<0x{byte:02X}>")).is_some())
        }
    }
}

fn keeps_text(step: &Value) -> bool {
    match step {
        Value::Object(fields) => {
            let known = fields.get("type").is_none_or(|kind| STEPS_THAT_KEEP_TEXT.iter().any(|known| kind == known));
            let removes = fields.get("behavior").is_some_and(|behavior| behavior == "Removed");
            known && !removes && !shortens(fields) && fields.values().all(keeps_text)
        }
        Value::Array(steps) => steps.iter().all(keeps_text),
        _ => true,
    }
}

/// Whether a step puts a shorter text in place of another.
fn shortens(fields: &serde_json::Map<String, Value>) -> bool {
    let is_replace = fields.get("type").is_some_and(|kind| kind == "Replace");
    let bytes = |text: Option<&Value>| text.and_then(Value::as_str).map(str::len);
    let pattern = bytes(fields.get("pattern").and_then(|pattern| pattern.get("String")));
    is_replace && pattern.is_none_or(|pattern| bytes(fields.get("content")).is_none_or(|content| content < pattern))
}

fn uses(step: &Value, kind: &str) -> bool {
    match step {
        Value::Object(fields) => {
            fields.get("type").is_some_and(|found| found == kind) || fields.values().any(|step| uses(step, kind))
        }
        Value::Array(steps) => steps.iter().any(|step| uses(step, kind)),
        _ => false,
    }
}
