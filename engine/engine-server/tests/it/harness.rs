//! Starts an engine and talks to it as a client would.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use engine_model::{Preset, Synth, synth};
use engine_server::{Config, Error};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use telemetry::Telemetry;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Whatever takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running engine.
pub struct Engine {
    pub address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), Error>>,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The checkpoint that most tests share. No token ends its outputs: they are as long as they may be.
pub fn checkpoint() -> &'static Path {
    static CHECKPOINT: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = CHECKPOINT.get_or_init(|| {
        let dir = fresh_checkpoint();
        edit(dir.path(), "config.json", |config| config["eos_token_id"] = Value::Null);
        edit(dir.path(), "generation_config.json", |config| config["eos_token_id"] = Value::Null);
        edit(dir.path(), "tokenizer_config.json", |config| config["eos_token"] = Value::Null);
        dir
    });
    made.path()
}

/// A checkpoint that a test may change.
pub fn fresh_checkpoint() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    synth(&Synth { seed: 7, ..Synth::new(dir.path(), Preset::Tiny) }).unwrap();
    dir
}

/// Changes one of a checkpoint's JSON files.
pub fn edit(dir: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let path = dir.join(name);
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

/// Ordinary bounds, a free port.
pub fn config() -> Config {
    config_of(checkpoint())
}

pub fn config_of(dir: impl Into<PathBuf>) -> Config {
    Config { served_name: Some("tiny".to_owned()), ..Config::new(dir, SocketAddr::from(([127, 0, 0, 1], 0))) }
}

impl Engine {
    pub async fn start() -> Engine {
        Engine::start_with(config()).await
    }

    pub async fn start_with(config: Config) -> Engine {
        Engine::start_traced(config, Telemetry::off()).await
    }

    pub async fn start_traced(config: Config, telemetry: Telemetry) -> Engine {
        let (ready, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            // A dropped sender stops the engine too.
            let _ = stopped.await;
        };
        let ready = move |address| ready.send(address).expect("the test waits for it");
        let served = tokio::spawn(engine_server::serve(config, Arc::new(telemetry), ready, shutdown));
        let address = tokio::time::timeout(PATIENCE, address).await.unwrap();
        let address = match address {
            Ok(address) => address,
            Err(_) => panic!("the engine did not start: {:?}", served.await.unwrap()),
        };
        Engine { address, client: Client::builder(TokioExecutor::new()).build_http(), stop: Some(stop), served }
    }

    /// Asks it to stop, without waiting.
    pub fn begin_stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).unwrap();
    }

    /// What `serve` returned.
    pub async fn end(self) -> Result<(), Error> {
        drop(self.stop);
        drop(self.client);
        tokio::time::timeout(PATIENCE, self.served).await.expect("it must stop").unwrap()
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        tokio::time::timeout(PATIENCE, self.client.request(request)).await.expect("it must answer").unwrap()
    }

    pub async fn ask(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let response = self.send(self.request(method, path, body)).await;
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("it must end").unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let uri = format!("http://{}{path}", self.address);
        Request::builder().method(method).uri(uri).body(Full::new(body.into())).unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, body.to_string()).await
    }

    /// A completion that must work.
    pub async fn complete(&self, body: Value) -> Value {
        self.post("/v1/completions", &with_model(body)).await.ok()
    }

    /// A chat that must work.
    pub async fn chat(&self, body: Value) -> Value {
        self.post("/v1/chat/completions", &with_model(body)).await.ok()
    }

    /// A stream that must work, as its frames.
    pub async fn stream(&self, path: &str, mut body: Value) -> Vec<Value> {
        body["stream"] = json!(true);
        let answer = self.post(path, &with_model(body)).await;
        assert_eq!(answer.headers["content-type"], "text/event-stream", "{}", answer.text());
        frames(&answer.text())
    }

    pub async fn state(&self) -> openai_api::ReplicaState {
        serde_json::from_slice(&self.get("/state").await.body).unwrap()
    }

    /// Asks for the state again and again until it is as wanted.
    pub async fn state_until(&self, wanted: impl Fn(&openai_api::ReplicaState) -> bool) -> openai_api::ReplicaState {
        let reached = async {
            loop {
                let state = self.state().await;
                if wanted(&state) {
                    return state;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("the state must be reached")
    }

    /// One sample of `/metrics`, by its name and labels.
    pub async fn metric(&self, sample: &str) -> f64 {
        let text = self.get("/metrics").await.text();
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {sample} in\n{text}")).parse().unwrap()
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self.json()
    }
}

fn with_model(mut body: Value) -> Value {
    body["model"] = json!("tiny");
    body
}

/// The chunks of a stream that ended as it should.
pub fn frames(text: &str) -> Vec<Value> {
    let body = text.strip_suffix("data: [DONE]\n\n").unwrap_or_else(|| panic!("no [DONE] at the end of {text}"));
    let frames = body.split_terminator("\n\n");
    frames.map(|frame| serde_json::from_str(frame.strip_prefix("data: ").expect("only data")).unwrap()).collect()
}

/// Replaces what differs from run to run.
pub fn redacted(mut answer: Value) -> Value {
    assert!(answer["id"].as_str().unwrap().len() > 30, "an id is hard to guess");
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    answer["id"] = json!("[id]");
    answer["created"] = json!("[created]");
    answer
}

/// The text of a completion's stream.
pub fn completion_text(frames: &[Value]) -> String {
    frames.iter().filter_map(|frame| frame["choices"][0]["text"].as_str()).collect()
}

/// The text of a chat's stream.
pub fn chat_text(frames: &[Value]) -> String {
    frames.iter().filter_map(|frame| frame["choices"][0]["delta"]["content"].as_str()).collect()
}

pub fn user(text: &str) -> Value {
    json!([{ "role": "user", "content": text }])
}
