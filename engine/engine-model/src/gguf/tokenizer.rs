//! Builds a tokenizer from a GGUF file's vocabulary: GPT-2's kind with merges, or sentencepiece's with scores.
//!
//! The vocabulary is written as a tokenizer.json, which the `tokenizers` crate reads like any other.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};
use tokenizers::Tokenizer;

use super::file::Gguf;
use super::value::Value;
use crate::LoadError;

/// Kinds of a token, in `tokenizer.ggml.token_type`.
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// A space, as sentencepiece spells it.
const SPACE: &str = "▁";

/// How text is cut before merges: what `tokenizer.ggml.pre` may name.
struct Cut {
    names: &'static [&'static str],
    /// None: GPT-2's own.
    regex: Option<&'static str>,
    /// A piece that is a token stays whole, whatever the merges say.
    whole_first: bool,
    composes: bool,
    begins_with_bos: bool,
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const PLAIN: Cut = Cut { names: &[], regex: None, whole_first: false, composes: false, begins_with_bos: false };

const CUTS: [Cut; 5] = [
    Cut {
        names: &["llama-bpe", "llama3", "llama-v3"],
        regex: Some(LLAMA3),
        whole_first: true,
        begins_with_bos: true,
        ..PLAIN
    },
    Cut { names: &["dbrx", "smaug-bpe"], regex: Some(LLAMA3), ..PLAIN },
    Cut { names: &["qwen2", "deepseek-r1-qwen"], regex: Some(QWEN2), composes: true, ..PLAIN },
    Cut { names: &["gpt-4o"], regex: Some(GPT_4O), ..PLAIN },
    Cut { names: &["gpt-2", "default"], ..PLAIN },
];

pub(super) fn tokenizer(file: &Gguf) -> Result<Tokenizer, LoadError> {
    let words = Words { file };
    let kind = words.text("model")?;
    let json = match kind {
        "gpt2" => byte_level(&words)?,
        "llama" => pieces(&words)?,
        other => {
            let reason = format!("tokenizer.ggml.model is \"{other}\"; \"gpt2\" and \"llama\" are read");
            return Err(file.bad(reason));
        }
    };
    let bytes = json.to_string().into_bytes();
    Tokenizer::from_bytes(bytes).map_err(|error| file.bad(format!("its tokenizer cannot be built: {error}")))
}

/// Byte-level BPE.
fn byte_level(words: &Words<'_>) -> Result<Json, LoadError> {
    let tokens = words.tokens()?;
    let pre = words.text("pre")?;
    let cut = CUTS.iter().find(|cut| cut.names.contains(&pre)).ok_or_else(|| {
        let known: Vec<&str> = CUTS.iter().flat_map(|cut| cut.names).copied().collect();
        words.file.bad(format!("tokenizer.ggml.pre is \"{pre}\"; known are {}", known.join(", ")))
    })?;
    let merges = words.texts("merges")?;
    let merges = merges.iter().map(|merge| match merge.split_once(' ') {
        Some((left, right)) => Ok(json!([left, right])),
        None => Err(words.file.bad(format!("the merge \"{merge}\" is not two pieces"))),
    });
    let merges: Vec<Json> = merges.collect::<Result<_, _>>()?;
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": cut.regex.is_none()});
    let pre_tokenizer = match cut.regex {
        None => bytes.clone(),
        Some(regex) => json!({
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false},
                bytes.clone(),
            ],
        }),
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": words.added(&tokens)?,
        "normalizer": if cut.composes { json!({"type": "NFC"}) } else { Json::Null },
        "pre_tokenizer": pre_tokenizer,
        "post_processor": words.around(&tokens, cut.begins_with_bos)?,
        "decoder": bytes,
        "model": {
            "type": "BPE",
            "ignore_merges": cut.whole_first,
            "vocab": vocab(&tokens),
            "merges": merges,
        },
    }))
}

/// Sentencepiece's BPE: of two neighbours whose union is a token, those with the best union merge first.
fn pieces(words: &Words<'_>) -> Result<Json, LoadError> {
    let tokens = words.tokens()?;
    let scores = words.list("scores")?;
    let scores: Option<Vec<f64>> = scores.iter().map(Value::float).collect();
    let scores = scores.filter(|scores| scores.len() == tokens.len());
    let scores = scores.ok_or_else(|| words.file.bad("tokenizer.ggml.scores has not a number for each token"))?;
    let kinds = words.kinds(&tokens)?;
    let unknown = kinds.iter().position(|kind| *kind == UNKNOWN).map(|id| tokens[id]);
    let prefixed = words.flag("add_space_prefix")?.unwrap_or(true);
    let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let normalizer = match prefixed {
        true => json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, spaces]}),
        false => spaces,
    };
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefixed {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(json!({
        "version": "1.0",
        "added_tokens": words.added(&tokens)?,
        "normalizer": normalizer,
        "pre_tokenizer": null,
        "post_processor": words.around(&tokens, true)?,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE",
            "unk_token": unknown,
            "fuse_unk": true,
            "byte_fallback": true,
            "vocab": vocab(&tokens),
            "merges": merges(&tokens, &scores),
        },
    }))
}

/// Every way to put a token together from two others, best token first.
fn merges(tokens: &[&str], scores: &[f64]) -> Vec<Json> {
    let ids: HashMap<&str, usize> = tokens.iter().copied().zip(0..).collect();
    let mut found = Vec::new();
    for (token, score) in tokens.iter().zip(scores) {
        let borders = token.char_indices().skip(1).map(|(at, _)| at);
        let parts = borders.map(|at| token.split_at(at));
        found.extend(parts.filter_map(|(left, right)| Some((*score, ids.get(left)?, ids.get(right)?, left, right))));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)).then(a.2.cmp(b.2)));
    found.into_iter().map(|(_, _, _, left, right)| json!([left, right])).collect()
}

fn vocab(tokens: &[&str]) -> Map<String, Json> {
    tokens.iter().zip(0..).map(|(token, id)| ((*token).to_owned(), json!(id))).collect()
}

/// The `tokenizer.ggml.` keys.
struct Words<'a> {
    file: &'a Gguf,
}

impl<'a> Words<'a> {
    fn value(&self, key: &str) -> Result<&'a Value, LoadError> {
        let key = format!("tokenizer.ggml.{key}");
        self.file.value(&key).ok_or_else(|| LoadError::FieldMissing { path: self.file.path().to_owned(), field: key })
    }

    fn wrong(&self, key: &str, expected: &str) -> LoadError {
        self.file.bad(format!("tokenizer.ggml.{key} is not {expected}"))
    }

    fn text(&self, key: &str) -> Result<&'a str, LoadError> {
        self.value(key)?.text().ok_or_else(|| self.wrong(key, "a text"))
    }

    fn list(&self, key: &str) -> Result<&'a [Value], LoadError> {
        self.value(key)?.list_of().ok_or_else(|| self.wrong(key, "a list"))
    }

    fn texts(&self, key: &str) -> Result<Vec<&'a str>, LoadError> {
        let texts = self.list(key)?.iter().map(Value::text).collect::<Option<Vec<&str>>>();
        texts.ok_or_else(|| self.wrong(key, "a list of texts"))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, LoadError> {
        match self.file.value(&format!("tokenizer.ggml.{key}")) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// All tokens, which are all different.
    fn tokens(&self) -> Result<Vec<&'a str>, LoadError> {
        let tokens = self.texts("tokens")?;
        let mut seen = HashMap::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            if let Some(first) = seen.insert(*token, id) {
                return Err(self.file.bad(format!("tokens {first} and {id} are both {token:?}")));
            }
        }
        Ok(tokens)
    }

    /// A token's kind, in order; all are ordinary where the file does not say.
    fn kinds(&self, tokens: &[&str]) -> Result<Vec<u64>, LoadError> {
        let Some(kinds) = self.file.value("tokenizer.ggml.token_type") else {
            return Ok(vec![1; tokens.len()]);
        };
        let kinds = kinds.list_of().and_then(|kinds| kinds.iter().map(Value::unsigned).collect::<Option<Vec<u64>>>());
        let kinds = kinds.filter(|kinds| kinds.len() == tokens.len());
        kinds.ok_or_else(|| self.wrong("token_type", "a list with a number for each token"))
    }

    /// Tokens that text is searched for before anything else.
    fn added(&self, tokens: &[&str]) -> Result<Vec<Json>, LoadError> {
        let kinds = self.kinds(tokens)?;
        let added = tokens.iter().zip(kinds).enumerate().filter_map(|(id, (token, kind))| {
            let special = match kind {
                UNKNOWN | CONTROL => true,
                USER_DEFINED => false,
                _ => return None,
            };
            Some(json!({
                "id": id, "content": token, "special": special,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            }))
        });
        Ok(added.collect())
    }

    /// What goes around a text: the token that begins it, if the model was trained so.
    fn around(&self, tokens: &[&str], begins_with_bos: bool) -> Result<Json, LoadError> {
        if !self.flag("add_bos_token")?.unwrap_or(begins_with_bos) {
            return Ok(Json::Null);
        }
        let key = "bos_token_id";
        let id = self.value(key)?.unsigned().and_then(|id| usize::try_from(id).ok());
        let token = id.and_then(|id| tokens.get(id)).ok_or_else(|| self.wrong(key, "a token's number"))?;
        let begin = json!({"SpecialToken": {"id": token, "type_id": 0}});
        let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
        Ok(json!({
            "type": "TemplateProcessing",
            "single": [begin, text("A", 0)],
            "pair": [begin, text("A", 0), begin, text("B", 1)],
            "special_tokens": {*token: {"id": token, "ids": [id], "tokens": [token]}},
        }))
    }
}
