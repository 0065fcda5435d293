//! A proxy on ports of its own, and clients of both ports.

pub mod component;
pub mod guest;
mod replica;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use proxy_server::{Bound, Config, Error, serve};
use serde_json::Value;
use telemetry::Telemetry;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use replica::{Asked, Replica, Speaks};

/// A running proxy; stopped when dropped.
pub struct Proxy {
    pub bound: Bound,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<Result<(), Error>>>,
}

/// Configuration lines for replicas.
pub fn replicas<'a>(replicas: impl IntoIterator<Item = &'a Replica>) -> String {
    let entry = |(index, replica): (usize, &Replica)| {
        format!("[[replica]]\nname = \"r{index}\"\nurl = \"http://{}\"\n", replica.address)
    };
    replicas.into_iter().enumerate().map(entry).collect()
}

impl Proxy {
    /// A proxy with these lines after the listeners' own.
    pub async fn start(lines: &str) -> Proxy {
        Proxy::start_with(&format!("{QUICK}\n{lines}")).await
    }

    /// The same without the tests' usual bounds.
    pub async fn start_with(lines: &str) -> Proxy {
        Proxy::traced(lines, Telemetry::off()).await
    }

    /// The same with traces.
    pub async fn traced(lines: &str, telemetry: Telemetry) -> Proxy {
        let text = format!("{LISTEN}\n{lines}");
        let config = Config::parse(&text, Path::new("test.toml")).expect("the test's configuration is sound");
        Proxy::of(config, telemetry).await
    }

    /// One whose configuration is this file.
    pub async fn of_file(path: &Path) -> Proxy {
        Proxy::of(Config::load(path).expect("the test's configuration is sound"), Telemetry::off()).await
    }

    async fn of(config: Config, telemetry: Telemetry) -> Proxy {
        let (ready, bound) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            // Dropping the proxy stops it too.
            let _ = stopped.await;
        };
        let ready = |bound| ready.send(bound).expect("the test waits");
        let served = tokio::spawn(serve(config, Arc::new(telemetry), ready, shutdown));
        let bound = bound.await.expect("the proxy starts");
        let client = Client::builder(TokioExecutor::new()).build_http();
        Proxy { bound, client, stop: Some(stop), served: Some(served) }
    }

    /// What a proxy with these lines says instead of starting.
    pub async fn refused(lines: &str) -> String {
        let config = Config::parse(&format!("{LISTEN}\n{lines}"), Path::new("test.toml"));
        let config = config.expect("the test's configuration is sound");
        let ready = |_| panic!("it starts");
        let served = serve(config, Arc::new(Telemetry::off()), ready, std::future::pending());
        served.await.expect_err("it does not start").to_string()
    }

    /// A proxy whose replicas are all healthy.
    pub async fn over(list: &[&Replica]) -> Proxy {
        let proxy = Proxy::start(&replicas(list.iter().copied())).await;
        proxy.until_healthy(list.len()).await;
        proxy
    }

    pub fn data(&self) -> SocketAddr {
        self.bound.data
    }

    /// Sends a request to the data port.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.client.request(request).await.expect("the proxy answers")
    }

    /// Posts a body to the data port.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Response<Incoming> {
        self.send(self.request(Method::POST, path, body)).await
    }

    /// Posts a chat request for the model that replicas serve.
    pub async fn chat(&self) -> Response<Incoming> {
        self.post("/v1/chat/completions", CHAT).await
    }

    pub fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let uri = format!("http://{}{path}", self.bound.data);
        let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        request.body(Full::new(body.into())).expect("the request is sound")
    }

    /// Sends a request to the admin port.
    pub async fn admin(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Response<Incoming> {
        let uri = format!("http://{}{path}", self.bound.admin);
        let request = Request::builder().method(method).uri(uri).body(Full::new(body.into()));
        self.client.request(request.expect("the request is sound")).await.expect("the proxy answers")
    }

    /// The same with an admin token.
    pub async fn admin_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let uri = format!("http://{}{path}", self.bound.admin);
        let request = Request::builder().method(method).uri(uri).header("authorization", format!("Bearer {token}"));
        let request = request.body(Full::new(body.into())).expect("the request is sound");
        self.client.request(request).await.expect("the proxy answers")
    }

    /// A JSON document of the admin port.
    pub async fn document(&self, path: &str) -> Value {
        let answer = self.admin(Method::GET, path, "").await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        serde_json::from_slice(&body(answer).await).expect("the admin port speaks JSON")
    }

    /// Waits until this many replicas are healthy.
    pub async fn until_healthy(&self, replicas: usize) {
        let healthy = |fleet: &Value| {
            let all = fleet["regions"][0]["replicas"].as_array().expect("a region has replicas");
            all.iter().filter(|replica| replica["health"] == "healthy").count() == replicas
        };
        self.until("fleet", healthy).await;
    }

    /// Waits until no replica of its own region has a request of ours.
    pub async fn until_idle(&self) {
        self.until("fleet", |fleet| {
            let replicas = fleet["regions"][0]["replicas"].as_array().expect("replicas are a list");
            replicas.iter().all(|replica| replica["in_flight"] == 0)
        })
        .await;
    }

    /// Waits on the live stream until an event of this name fits, and gives its data.
    pub async fn until(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut stream = self.admin(Method::GET, "/admin/v1/events", "").await.into_body();
        let mut text = String::new();
        loop {
            let frame = stream.frame().await.expect("the stream goes on").expect("the stream is whole");
            text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("events are text"));
            while let Some((event, rest)) = text.split_once("\n\n") {
                if let Some(data) = event.strip_prefix(&format!("event: {name}\ndata: ")) {
                    let data: Value = serde_json::from_str(data).expect("an event's data is JSON");
                    if fits(&data) {
                        return data;
                    }
                }
                text = rest.to_owned();
            }
        }
    }

    /// A number of `/metrics`, by its name and labels as they are printed.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = text(self.admin(Method::GET, "/metrics", "").await).await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a metric is a number"))
    }

    /// Begins the stop; gives what becomes of the proxy.
    pub fn stop(&mut self) -> JoinHandle<Result<(), Error>> {
        drop(self.stop.take());
        self.served.take().expect("a proxy is stopped once")
    }
}

/// A chat request for the model that replicas serve.
/// Of a configuration where one request is decided about after the other: two threads that decide at one moment may both
/// find a replica idle.
pub const ONE_THREAD: &str = "limits.data_threads = 1\n";

pub const CHAT: &str = r#"{"model":"tiny","messages":[{"role":"user","content":"hi"}]}"#;

pub const LISTEN: &str = r#"
region = "us"
listen = "127.0.0.1:0"
admin.listen = "127.0.0.1:0"
"#;

/// Looks often, so that tests need not wait long for what the proxy learns by looking.
const QUICK: &str = "limits.poll_interval_ms = 20";

pub async fn body(answer: Response<Incoming>) -> Bytes {
    answer.into_body().collect().await.expect("the body is whole").to_bytes()
}

pub async fn text(answer: Response<Incoming>) -> String {
    String::from_utf8(body(answer).await.to_vec()).expect("the body is text")
}

/// Status, `retry-after` and body, as people see them.
pub async fn shown(answer: Response<Incoming>) -> String {
    let status = answer.status();
    let retry = answer.headers().get("retry-after").map(|value| format!(" retry-after: {}", value.to_str().unwrap()));
    format!("{status}{}\n{}", retry.unwrap_or_default(), text(answer).await)
}
