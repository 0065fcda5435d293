//! Sends one request to an OpenAI-compatible server and reads its answer to the end.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::json;

use crate::prompts::Ask;
use crate::report::Outcome;
use crate::sse::Events;

/// Most bytes of a whole answer that are read.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Longest one request may take before it counts as failed.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(120);

/// A pooled client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
}

#[derive(Deserialize)]
struct Frame {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl Client {
    pub(crate) fn new() -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Client { pool: Pool::builder(TokioExecutor::new()).build(connector) }
    }

    /// One chat completion; the error is a sentence for the report.
    pub(crate) async fn chat(&self, base_url: &str, model: &str, ask: &Ask) -> Result<Outcome, String> {
        let sent = Instant::now();
        let whole = async {
            let response = self.send(base_url, model, ask).await?;
            if ask.stream { read_stream(response, sent).await } else { read_whole(response, sent).await }
        };
        match tokio::time::timeout(REQUEST_TIME_MAX, whole).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no whole answer within {REQUEST_TIME_MAX:?}")),
        }
    }

    async fn send(&self, base_url: &str, model: &str, ask: &Ask) -> Result<Response<Incoming>, String> {
        let mut body = json!({
            "model": model,
            "messages": [{"role": "system", "content": ask.system}, {"role": "user", "content": ask.question}],
            "max_tokens": ask.output_tokens_max,
            "temperature": 0.8,
            "seed": ask.seed,
            "stream": ask.stream,
        });
        if ask.stream {
            body["stream_options"] = json!({"include_usage": true});
        }
        let request = Request::post(format!("{base_url}/v1/chat/completions"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| format!("{base_url} is not a URL: {error}"))?;
        let response = self.pool.request(request).await.map_err(|error| format!("no answer: {error}"))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = whole_body(response).await?;
        Err(format!("{status}: {}", String::from_utf8_lossy(&text)))
    }
}

/// The body of a small GET; the error is a sentence.
pub async fn get(url: &str) -> Result<String, String> {
    let request = Request::get(url).body(Full::default()).map_err(|error| format!("{url} is not a URL: {error}"))?;
    let response = Client::new().pool.request(request).await.map_err(|error| format!("no answer: {error}"))?;
    let status = response.status();
    let text = String::from_utf8_lossy(&whole_body(response).await?).into_owned();
    if status.is_success() { Ok(text) } else { Err(format!("{status}: {text}")) }
}

async fn read_whole(response: Response<Incoming>, sent: Instant) -> Result<Outcome, String> {
    let text = whole_body(response).await?;
    let frame: Frame = serde_json::from_slice(&text).map_err(|error| format!("answer is not a completion: {error}"))?;
    let usage = frame.usage.ok_or("answer has no usage")?;
    Ok(Outcome {
        prompt_tokens: usage.prompt_tokens,
        output_tokens: usage.completion_tokens,
        ttft: None,
        decode: None,
        whole: sent.elapsed(),
    })
}

async fn whole_body(response: Response<Incoming>) -> Result<Bytes, String> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    body.map(|collected| collected.to_bytes()).map_err(|error| format!("answer broke off: {error}"))
}

async fn read_stream(response: Response<Incoming>, sent: Instant) -> Result<Outcome, String> {
    let mut body = response.into_body();
    let mut events = Events::default();
    let (mut first, mut last, mut usage, mut done) = (None, None, None, false);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("stream broke off: {error}"))?;
        let Some(bytes) = frame.data_ref() else {
            continue;
        };
        for payload in events.push(bytes).map_err(|_| "an event of the stream is too long")? {
            if payload == "[DONE]" {
                done = true;
                continue;
            }
            let frame: Frame =
                serde_json::from_str(&payload).map_err(|error| format!("stream has a bad frame: {error}"))?;
            if let Some(error) = frame.error {
                return Err(format!("stream ended with an error: {error}"));
            }
            if frame.choices.iter().any(Choice::has_text) {
                first.get_or_insert_with(|| sent.elapsed());
                last = Some(sent.elapsed());
            }
            usage = frame.usage.or(usage);
        }
    }
    if !done {
        return Err("stream ended without [DONE]".to_owned());
    }
    let usage = usage.ok_or("stream has no usage")?;
    Ok(Outcome {
        prompt_tokens: usage.prompt_tokens,
        output_tokens: usage.completion_tokens,
        ttft: first,
        decode: first.zip(last).map(|(first, last)| last - first),
        whole: sent.elapsed(),
    })
}

impl Choice {
    fn has_text(&self) -> bool {
        self.delta.as_ref().and_then(|delta| delta.content.as_ref()).is_some_and(|text| !text.is_empty())
    }
}
