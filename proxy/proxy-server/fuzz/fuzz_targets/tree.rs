//! What serde_json makes of a text, and whether that says all.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A text, as serde_json reads it.
pub enum Tree {
    /// JSON of which the tree shows everything.
    Plain(Value),
    /// JSON that may be read in another way too: a key stands twice in an object, half a surrogate pair stands in a
    /// string, or a number is larger than any float.
    Odd,
    NotJson,
}

impl Tree {
    pub fn read(text: &[u8]) -> Tree {
        match (serde_json::from_slice::<Value>(text), serde_json::from_slice::<EachKeyOnce>(text)) {
            (Ok(tree), Ok(_)) => Tree::Plain(tree),
            (Ok(_), Err(_)) => Tree::Odd,
            (Err(_), _) if is_odd(text) => Tree::Odd,
            (Err(_), _) => Tree::NotJson,
        }
    }
}

/// Digits of the largest float.
const FLOAT_DIGITS: usize = 309;

fn is_odd(text: &[u8]) -> bool {
    let has_surrogate = text.windows(3).any(|part| part.eq_ignore_ascii_case(b"\\ud"));
    let is_long = text.split(|byte| !byte.is_ascii_digit()).any(|digits| digits.len() >= FLOAT_DIGITS);
    has_surrogate || is_long || text.windows(2).any(|part| matches!(part, [b'0'..=b'9', b'e' | b'E']))
}

/// JSON in which no object has a key twice.
struct EachKeyOnce;

impl<'de> Deserialize<'de> for EachKeyOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EachKeyOnce, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = EachKeyOnce;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EachKeyOnce, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<EachKeyOnce>()?;
            if !keys.insert(key) {
                return Err(A::Error::custom("a key stands twice"));
            }
        }
        Ok(EachKeyOnce)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<EachKeyOnce, A::Error> {
        while list.next_element::<EachKeyOnce>()?.is_some() {}
        Ok(EachKeyOnce)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<EachKeyOnce, E> {
        Ok(EachKeyOnce)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<EachKeyOnce, E> {
        Ok(EachKeyOnce)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<EachKeyOnce, E> {
        Ok(EachKeyOnce)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<EachKeyOnce, E> {
        Ok(EachKeyOnce)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<EachKeyOnce, E> {
        Ok(EachKeyOnce)
    }

    fn visit_unit<E: Error>(self) -> Result<EachKeyOnce, E> {
        Ok(EachKeyOnce)
    }
}

/// The texts and token ids of a part of a prompt.
pub fn gather(value: &Value, text: &mut String, tokens: &mut Vec<u32>) {
    match value {
        Value::String(piece) => text.push_str(piece),
        Value::Number(number) => tokens.extend(number.as_u64().and_then(|token| u32::try_from(token).ok())),
        Value::Array(values) => values.iter().for_each(|value| gather(value, text, tokens)),
        Value::Object(entries) => {
            let kept = entries.iter().filter(|entry| ["content", "text"].contains(&entry.0.as_str()));
            kept.for_each(|(_, value)| gather(value, text, tokens));
        }
        Value::Null | Value::Bool(_) => {}
    }
}
