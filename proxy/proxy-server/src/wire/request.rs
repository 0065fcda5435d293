//! What the proxy must know of a request's body: who is asked for what, and the text of the prompt.

use std::borrow::Cow;

use bytes::Bytes;
use policy_api::Prompt;

use crate::wire::NAME_BYTES_MAX;
use crate::wire::endpoint::{Endpoint, PARTS};
use crate::wire::scan::{Kind, NotJson, Raw, Scalar, Scanner};

/// Pieces of a prompt that are kept apart; of more, one text is made.
const PIECES_MAX: usize = 256;

/// The fields of a request that the proxy reads. A field with a value of another type counts as absent: what it means
/// is the replica's to say. Only `model` must be a string, for the proxy itself goes by it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RequestFields {
    pub model: Option<String>,
    pub stream: bool,
    /// The client's bound on output tokens; 0 when it gave none.
    pub output_tokens_max: u32,
    /// Answers that are made of it, each with so many tokens; 0 where it does not say.
    pub choices: u32,
    pub temperature: Option<f64>,
    /// What ties the turns of a conversation together.
    pub session: Option<String>,
    /// The prompt's text: all messages' contents in order, or the prompt, or the input; system words before them.
    pub prompt: Prompt,
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
pub(crate) fn read_request_fields(body: &Bytes, endpoint: Endpoint) -> Result<RequestFields, BadBody> {
    let text = simdutf8::basic::from_utf8(body).map_err(|_| BadBody::NotUtf8 { at: valid_up_to(body) })?;
    let mut found = Found::default();
    let is_object = walk(text, endpoint, &mut found).map_err(|wrong| BadBody::NotJson(in_words(text, wrong)))?;
    if !is_object {
        return Err(BadBody::NotAnObject);
    }
    if !matches!(found.model, Scalar::Text(_) | Scalar::Null) {
        return Err(BadBody::ModelNotAString);
    }
    let fields = found.fields(body);
    match fields.model.as_ref().is_some_and(|model| model.len() > NAME_BYTES_MAX) {
        true => Err(BadBody::ModelTooLong),
        false => Ok(fields),
    }
}

/// Only of a body that is known to be wrong: the fast check does not say where.
fn valid_up_to(body: &[u8]) -> usize {
    std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len)
}

fn in_words(text: &str, wrong: NotJson) -> String {
    let before = &text.as_bytes()[..wrong.at.min(text.len())];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    format!("{} at line {line} column {}", wrong.why, 1 + wrong.at - line_start)
}

/// What stands in the body; the last of two equal keys counts, as in the JSON readers behind us.
struct Found<'a> {
    model: Scalar<'a>,
    stream: bool,
    /// By how much each key means it: `max_completion_tokens`, `max_output_tokens`, `max_tokens`.
    output_tokens_max: [Option<u32>; 3],
    /// Those that are asked for, and those that they are chosen from.
    choices: [Option<u32>; 2],
    temperature: Option<f64>,
    /// By how well each tells conversations apart: the cache's key, the conversation, the user, the turn before.
    sessions: [Option<Cow<'a, str>>; 4],
    parts: [Pieces<'a>; PARTS],
}

impl Default for Found<'_> {
    fn default() -> Self {
        Found {
            model: Scalar::Null,
            stream: false,
            output_tokens_max: [None; 3],
            choices: [None; 2],
            temperature: None,
            sessions: [const { None }; 4],
            parts: Default::default(),
        }
    }
}

/// Walks the whole text. Says whether it is an object.
fn walk<'a>(text: &'a str, endpoint: Endpoint, found: &mut Found<'a>) -> Result<bool, NotJson> {
    let mut scanner = Scanner::new(text);
    let is_object = scanner.kind()? == Kind::Object;
    match is_object {
        true => scanner.object(|scanner, key| found.field(endpoint, scanner, key))?,
        false => scanner.skip()?,
    }
    scanner.end()?;
    Ok(is_object)
}

impl<'a> Found<'a> {
    fn field(&mut self, endpoint: Endpoint, scanner: &mut Scanner<'a>, key: Raw<'a>) -> Result<(), NotJson> {
        let key = key.text();
        if let Some(part) = endpoint.part(&key) {
            let pieces = &mut self.parts[part];
            *pieces = Pieces::default();
            return pieces.gather(scanner);
        }
        match &*key {
            "model" => self.model = scanner.scalar()?,
            "stream" => self.stream = scanner.scalar()?.is_true(),
            "max_completion_tokens" => self.output_tokens_max[0] = scanner.scalar()?.count(),
            "max_output_tokens" => self.output_tokens_max[1] = scanner.scalar()?.count(),
            "max_tokens" => self.output_tokens_max[2] = scanner.scalar()?.count(),
            "n" => self.choices[0] = scanner.scalar()?.count(),
            "best_of" => self.choices[1] = scanner.scalar()?.count(),
            "temperature" => self.temperature = scanner.scalar()?.number(),
            "prompt_cache_key" => self.sessions[0] = scanner.scalar()?.text(),
            "conversation" => self.sessions[1] = text_or(scanner, "id")?,
            "user" => self.sessions[2] = scanner.scalar()?.text(),
            "metadata" if endpoint == Endpoint::Messages => self.sessions[2] = text_or(scanner, "user_id")?,
            "previous_response_id" => self.sessions[3] = scanner.scalar()?.text(),
            _ => scanner.skip()?,
        }
        Ok(())
    }

    fn fields(self, body: &Bytes) -> RequestFields {
        let Found { model, stream, output_tokens_max, choices, temperature, sessions, parts } = self;
        let (mut pieces, mut tokens) = (Vec::new(), Vec::new());
        for part in parts {
            part.end(body, &mut pieces, &mut tokens);
        }
        RequestFields {
            model: model.text().map(Cow::into_owned),
            stream,
            output_tokens_max: output_tokens_max.into_iter().flatten().next().unwrap_or(0),
            choices: choices.into_iter().flatten().max().unwrap_or(0),
            temperature,
            session: sessions.into_iter().flatten().next().map(Cow::into_owned),
            prompt: Prompt::of(pieces),
            tokens,
        }
    }
}

/// A text, or the one that stands under `name` in an object.
fn text_or<'a>(scanner: &mut Scanner<'a>, name: &str) -> Result<Option<Cow<'a, str>>, NotJson> {
    if scanner.kind()? != Kind::Object {
        return Ok(scanner.scalar()?.text());
    }
    let mut text = None;
    scanner.object(|scanner, key| match key.is(name) {
        true => scanner.scalar().map(|scalar| text = scalar.text()),
        false => scanner.skip(),
    })?;
    Ok(text)
}

/// One part of a prompt: its texts as they stand in the body, where they have no escapes.
#[derive(Default)]
struct Pieces<'a> {
    /// What came before `apart`, once that was too many.
    joined: String,
    apart: Vec<Cow<'a, str>>,
    tokens: Vec<u32>,
}

impl<'a> Pieces<'a> {
    /// Walks messages, a prompt or an input, and gathers its texts and token ids: strings, lists of them, and what
    /// stands under `content` and `text`.
    fn gather(&mut self, scanner: &mut Scanner<'a>) -> Result<(), NotJson> {
        match scanner.kind()? {
            Kind::Text => self.push(scanner.string()?.text()),
            Kind::Array => return scanner.array(|scanner| self.gather(scanner)),
            Kind::Object => {
                return scanner.object(|scanner, key| match key.is("content") || key.is("text") {
                    true => self.gather(scanner),
                    false => scanner.skip(),
                });
            }
            Kind::Number | Kind::Word => {
                if let Scalar::Number(written) = scanner.scalar()? {
                    self.tokens.extend(written.parse::<u32>());
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, piece: Cow<'a, str>) {
        if !self.joined.is_empty() {
            self.joined.push_str(&piece);
            return;
        }
        if self.apart.len() == PIECES_MAX {
            self.joined = self.apart.concat();
            self.apart.clear();
            return self.push(piece);
        }
        if !piece.is_empty() {
            self.apart.push(piece);
        }
    }

    fn end(self, body: &Bytes, pieces: &mut Vec<Bytes>, tokens: &mut Vec<u32>) {
        let Pieces { joined, apart, tokens: ids } = self;
        if !joined.is_empty() {
            pieces.push(joined.into());
        }
        pieces.extend(apart.into_iter().map(|piece| match piece {
            Cow::Borrowed(piece) => body.slice_ref(piece.as_bytes()),
            Cow::Owned(piece) => piece.into(),
        }));
        match tokens.is_empty() {
            true => *tokens = ids,
            false => tokens.extend(ids),
        }
    }
}
