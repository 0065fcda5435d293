//! Two small vocabularies for all tests, and what is true of both.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// A byte-level vocabulary: every byte, some merges that end inside a character, one special and one added token.
pub(crate) fn byte_level() -> Vocabulary {
    from_json(&byte_level_json())
}

/// A sentencepiece-like vocabulary, whose decoder strips the first space and falls back to bytes.
pub(crate) fn pieces() -> Vocabulary {
    from_json(&pieces_json())
}

fn byte_level_json() -> Value {
    let bytes = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
    let mut letters: Vec<String> = bytes.into_iter().map(String::from).collect();
    letters.sort();
    // "Ã©" spells é, "âĤ¬" spells €, "ðŁĺĢ" spells 😀.
    let merges = [("â", "Ĥ"), ("ð", "Ł"), ("ĺ", "Ģ"), ("Ã", "©"), ("h", "i"), ("hi", "â")];
    letters.extend(merges.iter().map(|(a, b)| format!("{a}{b}")));
    let vocab: Map<_, _> = letters.iter().cloned().zip((0..).map(Value::from)).collect();
    let next = vocab.len();
    let added = |id: usize, content: &str, special: bool| json!({"id": id, "content": content, "special": special, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [added(next, "<|end|>", true), added(next + 1, "<tool>", false)],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges.map(|(a, b)| format!("{a} {b}"))},
    })
}

fn pieces_json() -> Value {
    let mut letters: Vec<String> = (0..=255_u8).map(|byte| format!("<0x{byte:02X}>")).collect();
    letters.extend(["▁", "▁hi", "a", "é", "▁▁", "😀"].map(str::to_owned));
    let vocab: Map<_, _> = letters.iter().cloned().zip((0..).map(Value::from)).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "post_processor": null, "pre_tokenizer": null,
        "added_tokens": [],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "vocab": vocab, "merges": [], "byte_fallback": true},
    })
}

fn from_json(tokenizer: &Value) -> Vocabulary {
    Vocabulary::over(Tokenizer::from_bytes(tokenizer.to_string()).unwrap())
}

#[test]
fn the_bytes_of_tokens_join_to_the_text() {
    let vocabulary = byte_level();
    let tokens = vocabulary.encode_prompt("hi€ é\n😀<tool>").unwrap();
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| vocabulary.bytes_of(*token).unwrap()).collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), "hi€ é\n😀<tool>");
    assert_eq!(vocabulary.bytes_of(100_000), None);
    let pieces = pieces();
    assert_eq!(pieces.bytes_of(0xE2).unwrap(), [0xE2]);
    assert_eq!(pieces.bytes_of(pieces.id_of("▁hi").unwrap()).unwrap(), b" hi");
}

#[test]
fn a_text_has_so_many_tokens_at_least() {
    // "hiâ" spells four bytes at most, "<|end|>" seven; "<0xNN>" six.
    assert_eq!(byte_level().tokens_least(71), 11);
    assert_eq!(pieces().tokens_least(61), 11);
}

#[test]
fn a_token_that_may_swallow_text_has_no_bound() {
    let check = |mut json: Value, at: &str, value: Value| {
        *json.pointer_mut(at).unwrap() = value;
        assert_eq!(from_json(&json).tokens_least(8), 0, "{at}");
    };
    check(byte_level_json(), "/added_tokens/0/rstrip", json!(true));
    check(byte_level_json(), "/normalizer", json!({"type": "Strip", "strip_left": true, "strip_right": true}));
    check(byte_level_json(), "/pre_tokenizer", json!({"type": "WhitespaceSplit"}));
    check(byte_level_json(), "/pre_tokenizer", Value::Null);
    let split = json!({"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": false});
    check(byte_level_json(), "/pre_tokenizer", json!({"type": "Sequence", "pretokenizers": [split]}));
    check(pieces_json(), "/normalizer/content", json!(""));
    check(pieces_json(), "/model/byte_fallback", json!(false));
}

proptest! {
    #[test]
    fn no_text_has_fewer_tokens_than_told(text in "([ -~▁é€😀]|hi|<\\|end\\|>){0,40}") {
        for vocabulary in [byte_level(), pieces()] {
            prop_assert!(vocabulary.encode_prompt(&text).unwrap().len() >= vocabulary.tokens_least(text.len()));
        }
    }
}
