//! Clients of the storm: they know what the right answer is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;

use serde_json::{Value, json};

use super::fleet::Chance;
use crate::http;
use crate::processes::MODEL;

const CHAT: &str = "/v1/chat/completions";
const PROMPTS: u64 = 6;
const OUTPUT_TOKENS: u32 = 24;

/// What an undisturbed engine says to each prompt.
pub struct Expected(Vec<String>);

/// How one request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Right,
    /// An error with a status and a message, by its code.
    Refused(u16, String),
    /// A stream that was right as far as it came, and ended with an error's event.
    ErrorEvent,
    /// A whole answer whose connection broke within it: the client cannot take it for whole.
    BrokenOff,
    /// The client had enough.
    Left,
    Corrupted(String),
    Lost(String),
}

#[derive(Default)]
pub struct Counts {
    pub right: u64,
    pub lost: u64,
    pub corrupted: u64,
    refused: BTreeMap<String, u64>,
    error_events: u64,
    broken_off: u64,
    left: u64,
    pub first_wrong: Option<String>,
}

impl Answer {
    pub fn is_clear_error(&self) -> bool {
        matches!(self, Answer::Refused(502..=504, _))
    }
}

impl Counts {
    pub fn count(&mut self, number: u64, answer: &Answer) {
        let count = match answer {
            Answer::Right => &mut self.right,
            Answer::Refused(status, code) => self.refused.entry(format!("{status} {code}")).or_default(),
            Answer::ErrorEvent => &mut self.error_events,
            Answer::BrokenOff => &mut self.broken_off,
            Answer::Left => &mut self.left,
            Answer::Corrupted(_) => &mut self.corrupted,
            Answer::Lost(_) => &mut self.lost,
        };
        *count += 1;
        if matches!(answer, Answer::Corrupted(_) | Answer::Lost(_)) {
            self.first_wrong.get_or_insert_with(|| format!("request {number}: {answer:?}"));
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { right, lost, corrupted, refused, error_events, broken_off, left, first_wrong: _ } = self;
        write!(
            f,
            "{right} right, {left} left by their clients, refused {refused:?}, {error_events} streams ended by an \
             error's event, {broken_off} whole answers broken off, {corrupted} corrupted, {lost} lost"
        )
    }
}

fn body(prompt: u64, stream: bool) -> Value {
    json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": format!("Say number {prompt}") }],
        "max_tokens": OUTPUT_TOKENS,
        "temperature": 0,
        "stream": stream,
    })
}

impl Expected {
    pub fn from(url: &str) -> Expected {
        let said = |prompt| {
            let answer = http::post(&format!("{url}{CHAT}"), body(prompt, false).to_string().as_bytes()).json();
            answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
        };
        Expected((0..PROMPTS).map(said).collect())
    }

    /// Asks one question: most as streams, some by clients that leave, or read slowly.
    pub fn ask(&self, url: &str, number: u64, chance: &mut Chance) -> Answer {
        let prompt = number % PROMPTS;
        let right = &self.0[prompt as usize];
        let stream = chance.below(4) > 0;
        let leaves_after = if stream && chance.below(12) == 0 { chance.below(3000) as usize } else { usize::MAX };
        let slowly = chance.below(16) == 0;
        let response = match http::try_post(&format!("{url}{CHAT}"), &body(prompt, stream)) {
            Ok(response) => response,
            Err(error) => return Answer::Lost(error.to_string()),
        };
        let status = response.status().as_u16();
        let mut reader = response.into_body().into_reader();
        let mut text = Vec::new();
        let read = match (slowly, leaves_after) {
            (_, 0..usize::MAX) if status == 200 => {
                // What comes of it is of no interest.
                let _ = reader.take(leaves_after as u64).read_to_end(&mut text);
                return Answer::Left;
            }
            (true, _) => read_slowly(&mut reader, &mut text),
            (false, _) => reader.read_to_end(&mut text).map(drop),
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        match (status, read) {
            (200, Ok(())) if stream => judge_stream(&text, right),
            (200, Ok(())) => judge_whole(&text, right),
            (200, Err(_)) if !stream => Answer::BrokenOff,
            (_, Err(error)) => Answer::Lost(format!("{status}, then {error} after {text}")),
            (status, Ok(())) => match serde_json::from_str::<Value>(&text) {
                Ok(said) if said["error"]["message"].is_string() => {
                    Answer::Refused(status, said["error"]["code"].as_str().unwrap_or("").to_owned())
                }
                _ => Answer::Lost(format!("{status} without an error: {text}")),
            },
        }
    }
}

fn read_slowly(reader: &mut impl Read, text: &mut Vec<u8>) -> std::io::Result<()> {
    let mut bytes = [0; 200];
    loop {
        match reader.read(&mut bytes)? {
            0 => return Ok(()),
            count => text.extend_from_slice(&bytes[..count]),
        }
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
}

fn judge_whole(text: &str, right: &str) -> Answer {
    match serde_json::from_str::<Value>(text) {
        Ok(said) if said["choices"][0]["message"]["content"] == right => Answer::Right,
        _ => Answer::Corrupted(text.to_owned()),
    }
}

/// A stream's events must be whole, of one id, and say the right text in the right order.
fn judge_stream(text: &str, right: &str) -> Answer {
    let mut said = String::new();
    let mut ids = BTreeSet::new();
    let mut is_done = false;
    for event in text.split_terminator("\n\n") {
        let Some(data) = event.strip_prefix("data: ") else { return Answer::Corrupted(text.to_owned()) };
        if data == "[DONE]" {
            is_done = true;
            continue;
        }
        let Ok(chunk) = serde_json::from_str::<Value>(data) else { return Answer::Corrupted(text.to_owned()) };
        if chunk["error"]["message"].is_string() {
            let is_right = right.starts_with(&said) && text.ends_with("\n\n");
            return if is_right { Answer::ErrorEvent } else { Answer::Corrupted(text.to_owned()) };
        }
        ids.insert(chunk["id"].as_str().unwrap_or_default().to_owned());
        said += chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
    }
    match is_done && said == right && ids.len() == 1 && text.ends_with("\n\n") {
        true => Answer::Right,
        false => Answer::Corrupted(text.to_owned()),
    }
}
