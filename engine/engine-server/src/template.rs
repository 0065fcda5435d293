//! Renders a conversation into the one text a model was trained to continue, by the checkpoint's Jinja template.

use std::error::Error as _;
use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use minijinja::{Environment, ErrorKind, context};
use openai_api::Message;
use serde_json::Value;

use crate::{Error, clock};

/// A checkpoint's chat template.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

/// Why a conversation was not rendered.
#[derive(Debug)]
pub(crate) enum RenderError {
    /// The template refuses the conversation, in these words.
    Refused(String),
    /// The template itself is broken.
    Broken(String),
}

const NAME: &str = "chat";

impl ChatTemplate {
    /// Reads `chat_template.jinja` or the `chat_template` of `tokenizer_config.json`. None: the checkpoint has neither.
    pub fn load(dir: &Path, tokenizer_config: &Value) -> Result<Option<ChatTemplate>, Error> {
        let file = dir.join("chat_template.jinja");
        let (path, source) = if file.exists() {
            let source = std::fs::read_to_string(&file);
            let source = source.map_err(|error| Error::Checkpoint { path: file.clone(), reason: error.to_string() })?;
            (file, source)
        } else {
            let Some(source) = in_config(tokenizer_config) else { return Ok(None) };
            (dir.join("tokenizer_config.json"), source.to_owned())
        };
        let token = |name| token_in(tokenizer_config, name).unwrap_or_default();
        ChatTemplate::of(&path, source, token("bos_token"), token("eos_token")).map(Some)
    }

    /// Reads a template that was found in `path`.
    pub fn of(path: &Path, source: String, bos_token: String, eos_token: String) -> Result<ChatTemplate, Error> {
        ChatTemplate::parse(source, bos_token, eos_token)
            .map_err(|error| Error::Checkpoint { path: path.to_owned(), reason: format!("the chat template: {error}") })
    }

    fn parse(source: String, bos_token: String, eos_token: String) -> Result<ChatTemplate, minijinja::Error> {
        let mut environment = Environment::new();
        // As Hugging Face renders templates; their authors rely on it.
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise);
        environment.add_function("strftime_now", |format: String| strftime(clock::wall(clock::now()), &format));
        environment.add_template_owned(NAME, source)?;
        Ok(ChatTemplate { environment, bos_token, eos_token })
    }

    /// The conversation as text, ending where the assistant is to speak.
    pub fn render(&self, messages: &[Message]) -> Result<String, RenderError> {
        let template = self.environment.get_template(NAME).expect("parse() added it");
        let rendered = template.render(context! {
            messages,
            bos_token => self.bos_token,
            eos_token => self.eos_token,
            add_generation_prompt => true,
        });
        rendered.map_err(|error| match refusal_in(&error) {
            Some(refusal) => RenderError::Refused(refusal.0.clone()),
            None => RenderError::Broken(error.to_string()),
        })
    }
}

/// `chat_template` is a text, or a list of named ones.
fn in_config(tokenizer_config: &Value) -> Option<&str> {
    match tokenizer_config.get("chat_template")? {
        Value::String(source) => Some(source),
        Value::Array(named) => {
            named.iter().find(|entry| entry["name"] == "default").and_then(|entry| entry["template"].as_str())
        }
        _ => None,
    }
}

/// A special token of `tokenizer_config.json`: a text, or an object that holds one.
pub(crate) fn token_in(tokenizer_config: &Value, name: &str) -> Option<String> {
    let token = tokenizer_config.get(name)?;
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
}

/// What a template said through `raise_exception`.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn raise(message: String) -> Result<String, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

fn refusal_in(error: &minijinja::Error) -> Option<&Raised> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(raised) = error.downcast_ref() {
            return Some(raised);
        }
        source = error.source();
    }
    None
}

/// The directives that published templates use: dates, for "today is …".
fn strftime(at: SystemTime, format: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = date_of(seconds / 86_400);
    let month_name = MONTHS[month as usize - 1];
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            text.push(char);
            continue;
        }
        match chars.next() {
            Some('Y') => text += &year.to_string(),
            Some('m') => text += &format!("{month:02}"),
            Some('d') => text += &format!("{day:02}"),
            Some('B') => text += month_name,
            Some('b') => text += &month_name[..3],
            Some('H') => text += &format!("{:02}", seconds / 3600 % 24),
            Some('M') => text += &format!("{:02}", seconds / 60 % 60),
            Some('S') => text += &format!("{:02}", seconds % 60),
            Some('%') => text.push('%'),
            Some(other) => text.extend(['%', other]),
            None => text.push('%'),
        }
    }
    text
}

/// Year, month and day of a day since 1970, in UTC (Hinnant, "chrono-compatible low-level date algorithms").
fn date_of(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
