//! Gives shipped policies configurations that their schema half allows: the right names, and values of any kind.

use policy_api::Policy;
use policy_runtime::{LoadError, Runtime};
use serde_json::{Map, Value, json};

use super::bytes::Bytes;
use super::stage::{SLOT, ask, check_sentence, runtime};

/// How deep a made-up value goes.
const DEPTH_MAX: usize = 4;

/// Components that take a configuration, each with its schema.
pub struct Config {
    runtime: Runtime,
    takers: Vec<(Vec<u8>, Value)>,
}

impl Config {
    /// Of these components, those that take one.
    pub fn new(components: &[Vec<u8>]) -> Config {
        let runtime = runtime();
        let mut takers = Vec::new();
        for bytes in components {
            let Ok(loaded) = runtime.load(SLOT, bytes, "", None) else { continue };
            if let Ok(schema) = serde_json::from_str(&loaded.describe().config_schema) {
                takers.push((bytes.clone(), schema));
            }
        }
        assert!(!takers.is_empty(), "no component takes a configuration");
        Config { runtime, takers }
    }

    /// Why a configuration was refused; none where it was taken, and then the policy was asked.
    pub fn load(&self, input: &[u8]) -> Option<LoadError> {
        let mut input = Bytes(input);
        let (component, schema) = &self.takers[input.below(self.takers.len())];
        let text = match input.byte() % 8 {
            0 => String::from_utf8_lossy(input.rest()).into_owned(),
            _ => value(schema, &mut input, DEPTH_MAX).to_string(),
        };
        match self.runtime.load(SLOT, component, &text, None) {
            Ok(loaded) => {
                ask(&loaded, 1, b"a prompt");
                None
            }
            Err(refused) => {
                check_sentence(&refused.to_string());
                assert!(!matches!(refused, LoadError::Internal { .. }), "the runtime is to blame: {refused}");
                Some(refused)
            }
        }
    }
}

/// A value that mostly follows the schema, and sometimes does not.
fn value(schema: &Value, input: &mut Bytes<'_>, depth: usize) -> Value {
    if depth == 0 || input.byte() % 6 == 5 {
        return stray(input);
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.is_empty()) {
        return words[input.below(words.len())].clone();
    }
    match schema["type"].as_str() {
        Some("object") => object(schema, input, depth),
        Some("array") => {
            let count = input.below(4);
            (0..count).map(|_| value(&schema["items"], input, depth - 1)).collect()
        }
        Some("integer") => json!([0, 1, 2, 1000, i64::from(u32::MAX), i64::MIN, -1][input.below(7)]),
        Some("number") => json!([0.0, 0.5, 1.0, -1.0, 1e300, 5e-324, -0.0][input.below(7)]),
        Some("boolean") => json!(input.byte().is_multiple_of(2)),
        Some("string") => json!(["", "x", "round-robin", "\u{0}", "\u{10ffff}"][input.below(5)]),
        _ => stray(input),
    }
}

fn object(schema: &Value, input: &mut Bytes<'_>, depth: usize) -> Value {
    let mut object = Map::new();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if !input.byte().is_multiple_of(3) {
            object.insert(name.clone(), value(schema, input, depth - 1));
        }
    }
    if input.byte() % 16 == 1 {
        object.insert("stranger".to_owned(), stray(input));
    }
    Value::Object(object)
}

fn stray(input: &mut Bytes<'_>) -> Value {
    match input.below(8) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => json!(u64::MAX),
        4 => json!("\u{202e}".repeat(2000)),
        5 => json!(i64::MIN),
        6 => json!([[[[[[null]]]]]]),
        _ => json!(1e308),
    }
}
