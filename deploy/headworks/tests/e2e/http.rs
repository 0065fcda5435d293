//! A small blocking HTTP client for the tests.

use std::io::Read;

use serde_json::{Value, json};

use crate::processes::{MODEL, PATIENCE};

/// A whole answer.
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into()
}

fn answer(response: ureq::http::Response<ureq::Body>) -> Answer {
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    response.into_body().into_reader().read_to_end(&mut body).unwrap();
    Answer { status, retry_after, body }
}

#[track_caller]
pub fn get(url: &str) -> Answer {
    answer(agent().get(url).call().unwrap())
}

#[track_caller]
pub fn put(url: &str, body: &[u8]) -> Answer {
    answer(agent().put(url).send(body).unwrap())
}

#[track_caller]
pub fn delete(url: &str) -> Answer {
    answer(agent().delete(url).call().unwrap())
}

#[track_caller]
pub fn post(url: &str, body: &[u8]) -> Answer {
    answer(agent().post(url).header("content-type", "application/json").send(body).unwrap())
}

/// The same where the server may be gone, with the head of what it says.
pub fn try_post(url: &str, body: &Value) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
    agent().post(url).header("content-type", "application/json").send(body.to_string())
}

/// A stream that is read as it comes.
pub fn open_stream(url: &str, body: &Value) -> impl Read + use<> {
    let response = agent().post(url).header("content-type", "application/json").send(body.to_string()).unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().into_reader()
}

/// A chat request for the tiny model.
pub fn chat(text: &str, output_tokens_max: u32, stream: bool) -> Value {
    json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": output_tokens_max,
        "temperature": 0,
        "stream": stream,
    })
}
