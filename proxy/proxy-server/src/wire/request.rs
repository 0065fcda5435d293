//! What the proxy must know of a request's body: who is asked for what, and the text of the prompt.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::wire::NAME_BYTES_MAX;

/// The fields of a request that the proxy reads. A field with a value of another type counts as absent: what it means
/// is the replica's to say. Only `model` must be a string, for the proxy itself goes by it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RequestFields {
    pub model: Option<String>,
    pub stream: bool,
    /// The client's bound on output tokens; 0 when it gave none.
    pub output_tokens_max: u32,
    pub temperature: Option<f64>,
    /// What ties the turns of a conversation together.
    pub session: Option<String>,
    /// The prompt's text: all messages' contents in order, or the prompt, or the input.
    pub prompt: Bytes,
    /// Token ids, where the prompt is given as such.
    pub tokens: Vec<u32>,
}

/// Why a body cannot be read.
#[derive(Debug, PartialEq)]
pub(crate) enum BadBody {
    NotUtf8 { at: usize },
    NotJson(String),
    NotAnObject,
    ModelNotAString,
    ModelTooLong,
}

/// Reads a body in one pass.
pub(crate) fn read_request_fields(body: &Bytes) -> Result<RequestFields, BadBody> {
    let text = std::str::from_utf8(body).map_err(|error| BadBody::NotUtf8 { at: error.valid_up_to() })?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut found = Found::default();
    let read = reader.deserialize_map(BodyVisitor(&mut found)).and_then(|()| reader.end());
    match read {
        Ok(()) if found.bad_model => Err(BadBody::ModelNotAString),
        Ok(()) if found.model.as_ref().is_some_and(|model| model.len() > NAME_BYTES_MAX) => Err(BadBody::ModelTooLong),
        Ok(()) => Ok(found.fields(body)),
        Err(error) if error.is_data() => Err(BadBody::NotAnObject),
        Err(error) => Err(BadBody::NotJson(error.to_string())),
    }
}

#[derive(Default)]
struct Found<'a> {
    model: Option<Cow<'a, str>>,
    bad_model: bool,
    stream: bool,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    temperature: Option<f64>,
    user: Option<Cow<'a, str>>,
    cache_key: Option<Cow<'a, str>>,
    prompt: Prompt<'a>,
}

#[derive(Default)]
struct Prompt<'a> {
    pieces: Vec<Cow<'a, str>>,
    tokens: Vec<u32>,
}

impl Found<'_> {
    fn fields(self, body: &Bytes) -> RequestFields {
        let Found { model, stream, max_tokens, max_completion_tokens, temperature, user, cache_key, prompt, .. } = self;
        let Prompt { pieces, tokens } = prompt;
        RequestFields {
            model: model.map(Cow::into_owned),
            stream,
            output_tokens_max: max_completion_tokens.or(max_tokens).unwrap_or(0),
            temperature,
            session: cache_key.or(user).map(Cow::into_owned),
            prompt: joined(&pieces, body),
            tokens,
        }
    }
}

/// One piece that stands in the body as it is needs no copy; escaped or several pieces do.
fn joined(pieces: &[Cow<'_, str>], body: &Bytes) -> Bytes {
    match pieces {
        [] => Bytes::new(),
        [Cow::Borrowed(piece)] => body.slice_ref(piece.as_bytes()),
        _ => pieces.concat().into(),
    }
}

struct BodyVisitor<'f, 'a>(&'f mut Found<'a>);

impl<'a> Visitor<'a> for BodyVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let found = self.0;
        // The last of two equal keys counts, as in the JSON readers behind us.
        while let Some(Key(key)) = map.next_key_seed(KeySeed)? {
            match &*key {
                "model" => {
                    let scalar = map.next_value_seed(ScalarSeed)?;
                    found.bad_model = !matches!(scalar, Scalar::Text(_) | Scalar::Null);
                    found.model = scalar.text();
                }
                "stream" => found.stream = map.next_value_seed(ScalarSeed)?.is_true(),
                "max_tokens" => found.max_tokens = map.next_value_seed(ScalarSeed)?.count(),
                "max_completion_tokens" => found.max_completion_tokens = map.next_value_seed(ScalarSeed)?.count(),
                "temperature" => found.temperature = map.next_value_seed(ScalarSeed)?.number(),
                "user" => found.user = map.next_value_seed(ScalarSeed)?.text(),
                "prompt_cache_key" => found.cache_key = map.next_value_seed(ScalarSeed)?.text(),
                "messages" | "prompt" | "input" => {
                    found.prompt = Prompt::default();
                    map.next_value_seed(PromptSeed(&mut found.prompt))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);
struct KeySeed;

impl<'a> DeserializeSeed<'a> for KeySeed {
    type Value = Key<'a>;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Key<'a>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for KeySeed {
    type Value = Key<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Key<'a>, E> {
        Ok(Key(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Key<'a>, E> {
        Ok(Key(Cow::Owned(text.to_owned())))
    }
}

/// A value of which only a scalar is of interest.
enum Scalar<'a> {
    Null,
    Bool(bool),
    Count(u64),
    Number(f64),
    Text(Cow<'a, str>),
    Other,
}

impl<'a> Scalar<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    fn count(self) -> Option<u32> {
        match self {
            Scalar::Count(count) => Some(count.try_into().unwrap_or(u32::MAX)),
            _ => None,
        }
    }

    fn number(self) -> Option<f64> {
        match self {
            Scalar::Number(number) => Some(number),
            Scalar::Count(count) => Some(count as f64),
            _ => None,
        }
    }

    fn is_true(&self) -> bool {
        matches!(self, Scalar::Bool(true))
    }
}

struct ScalarSeed;

impl<'a> DeserializeSeed<'a> for ScalarSeed {
    type Value = Scalar<'a>;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Scalar<'a>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ScalarSeed {
    type Value = Scalar<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Count(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Number(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'a str) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<Scalar<'a>, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Scalar<'a>, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// Walks messages, a prompt or an input, and gathers its texts and token ids: strings, lists of them, and what stands
/// under `content` and `text`.
struct PromptSeed<'p, 'a>(&'p mut Prompt<'a>);

impl<'a> DeserializeSeed<'a> for PromptSeed<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for PromptSeed<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<(), E> {
        self.0.pieces.push(Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.pieces.push(Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_u64<E: Error>(self, token: u64) -> Result<(), E> {
        self.0.tokens.extend(u32::try_from(token));
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<(), S::Error> {
        while seq.next_element_seed(PromptSeed(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Key(key)) = map.next_key_seed(KeySeed)? {
            match &*key {
                "content" | "text" => map.next_value_seed(PromptSeed(&mut *self.0))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}
