//! What both endpoints let a client ask for besides its prompt: length, sampling, stops, logprobs, delivery.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ErrorBody;
use crate::continuation::{CONTINUATION_FIELD, Continuation};
use crate::fields::{Fields, invalid, shown};

/// Most stop strings one request may have.
pub const STOP_STRINGS_MAX: usize = 4;

/// Checked options, the same for chat and completions.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Most output tokens; none: the endpoint's default.
    pub output_tokens_max: Option<u32>,
    /// How a token is chosen.
    pub sampling: Sampling,
    /// Texts that end the output and are not part of it.
    pub stop: Vec<String>,
    /// Log probabilities wanted: how many alternatives besides the chosen token. None: no log probabilities.
    pub logprobs: Option<u32>,
    /// In one piece or as a stream.
    pub delivery: Delivery,
    /// The stream began at another server. An extension, for proxies.
    pub continuation: Option<Continuation>,
}

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the likeliest token; 1 samples the model's own distribution.
    pub temperature: f32,
    /// Samples among the likeliest tokens that together reach this probability.
    pub top_p: f32,
    /// Samples among this many likeliest tokens; none: no bound. An extension.
    pub top_k: Option<u32>,
    /// The same seed gives the same output.
    pub seed: Option<u64>,
}

/// How the output reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// One JSON body.
    Whole,
    /// Server-sent events.
    Stream,
    /// Server-sent events, the last of which carries the usage.
    StreamWithUsage,
}

/// Why output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it, or a stop string.
    Stop,
    /// The bound on output tokens, or the context.
    Length,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling { temperature: 1.0, top_p: 1.0, top_k: None, seed: None }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            output_tokens_max: None,
            sampling: Sampling::default(),
            stop: Vec::new(),
            logprobs: None,
            delivery: Delivery::Whole,
            continuation: None,
        }
    }
}

impl Options {
    /// Takes all options but `logprobs`, whose shape differs by endpoint.
    pub(crate) fn take(fields: &mut Fields) -> Result<Options, ErrorBody> {
        refuse_unsupported(fields)?;
        let bound = "an integer of at least 1";
        let max_tokens = fields.take_within("max_tokens", 1..=u32::MAX, bound)?;
        let max_completion_tokens = fields.take_within("max_completion_tokens", 1..=u32::MAX, bound)?;
        Ok(Options {
            output_tokens_max: max_completion_tokens.or(max_tokens),
            sampling: Sampling::take(fields)?,
            stop: take_stop(fields)?,
            logprobs: None,
            delivery: Delivery::take(fields)?,
            continuation: fields.take_as(CONTINUATION_FIELD, "what the stream's comments have told")?,
        })
    }
}

impl Sampling {
    fn take(fields: &mut Fields) -> Result<Sampling, ErrorBody> {
        let default = Sampling::default();
        // -1 and 0 mean "no bound" to the clients of other servers.
        let top_k = fields.take_within("top_k", -1..=i64::from(u32::MAX), "an integer of at least -1")?;
        Ok(Sampling {
            temperature: fields
                .take_within("temperature", 0.0..=2.0, "a number from 0 to 2")?
                .unwrap_or(default.temperature),
            top_p: fields.take_within("top_p", 0.0..=1.0, "a number from 0 to 1")?.unwrap_or(default.top_p),
            top_k: top_k.and_then(|k| u32::try_from(k).ok()).filter(|k| *k > 0),
            seed: fields.take_as::<i64>("seed", "an integer")?.map(i64::cast_unsigned),
        })
    }
}

impl Delivery {
    fn take(fields: &mut Fields) -> Result<Delivery, ErrorBody> {
        let stream = fields.take_as::<bool>("stream", "true or false")?.unwrap_or(false);
        let stream_options = fields.take("stream_options");
        let include_usage = match &stream_options {
            None => false,
            Some(_) if !stream => {
                return Err(
                    ErrorBody::invalid_request("'stream_options' needs 'stream' to be true.").param("stream_options")
                );
            }
            Some(Value::Object(options)) => match options.get("include_usage") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(wanted)) => *wanted,
                Some(other) => {
                    return Err(invalid("stream_options.include_usage", "true or false", &shown(other)));
                }
            },
            Some(other) => return Err(invalid("stream_options", "an object", &shown(other))),
        };
        Ok(match (stream, include_usage) {
            (false, _) => Delivery::Whole,
            (true, false) => Delivery::Stream,
            (true, true) => Delivery::StreamWithUsage,
        })
    }
}

fn take_stop(fields: &mut Fields) -> Result<Vec<String>, ErrorBody> {
    let wanted = "a string or a list of up to 4 non-empty strings";
    let Some(value) = fields.take("stop") else {
        return Ok(Vec::new());
    };
    let found = shown(&value);
    let stop = match value {
        Value::String(one) => Some(vec![one]),
        list => serde_json::from_value::<Vec<String>>(list).ok(),
    };
    match stop {
        Some(stop) if stop.len() > STOP_STRINGS_MAX => {
            Err(invalid("stop", wanted, &format!("a list of {}", stop.len())))
        }
        Some(stop) if stop.iter().any(String::is_empty) => Err(invalid("stop", wanted, "an empty string")),
        Some(stop) => Ok(stop),
        None => Err(invalid("stop", wanted, &found)),
    }
}

/// Refuses what would change the answer if we ignored it. Values that ask for nothing pass: many clients send them.
fn refuse_unsupported(fields: &mut Fields) -> Result<(), ErrorBody> {
    const ONLY_ONE: [&str; 2] = ["n", "best_of"];
    const UNSUPPORTED: [&str; 12] = [
        "echo",
        "suffix",
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "tools",
        "functions",
        "audio",
        "response_format",
        "guided_json",
        "use_beam_search",
        "prompt_logprobs",
    ];
    for name in ONLY_ONE {
        if let Some(value) = fields.take(name).filter(|value| value.as_u64() != Some(1)) {
            return Err(invalid(name, "1 (this server makes one choice a request)", &shown(&value)));
        }
    }
    for name in UNSUPPORTED {
        if fields.take(name).is_some_and(|value| !asks_for_nothing(&value)) {
            let message = format!("'{name}' is not supported by this server; leave it out.");
            return Err(ErrorBody::invalid_request(message).param(name).code("unsupported_parameter"));
        }
    }
    Ok(())
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(wanted) => !wanted,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty() || object.get("type").is_some_and(|kind| kind == "text"),
    }
}
