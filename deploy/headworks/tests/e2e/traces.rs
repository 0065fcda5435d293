//! One request, one connected trace, across client, proxy and engine, at a real collector.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::http::{self, chat};
use crate::processes::{engine, metric, proxy, tool, wait_for};

/// A collector that logs every span it receives.
pub struct Collector {
    process: Child,
    /// Where it takes spans over HTTP.
    pub http: String,
    grpc: String,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

#[derive(Clone, Debug, Default)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: String,
    service: String,
    attributes: BTreeMap<String, String>,
}

impl Collector {
    pub fn start() -> Collector {
        let python = tool("HEADWORKS_TEST_PYTHON");
        let find = "import rotel, pathlib; print(pathlib.Path(rotel.__file__).parent / 'rotel-agent')";
        let found = Command::new(&python).args(["-c", find]).output().unwrap();
        let agent = String::from_utf8(found.stdout).unwrap();
        let dir = crate::processes::folder();
        let log = dir.path().join("spans.log");
        // The collector cannot take port 0, so it is given ports that were free a moment ago, and asked again if not.
        let (http, grpc) = (free_port(), free_port());
        let process = Command::new(agent.trim())
            .args(["start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-http-endpoint", &http, "--otlp-grpc-endpoint", &grpc])
            .stdout(std::fs::File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let collector = Collector { process, http, grpc, log, _dir: dir };
        wait_for("the collector to listen", || std::net::TcpStream::connect(&collector.http).ok());
        wait_for("the collector to listen", || std::net::TcpStream::connect(&collector.grpc).ok());
        collector
    }

    /// All that it received, as it tells it.
    pub fn received(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn spans(&self) -> Vec<Span> {
        spans(&self.received())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> String {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string()
}

fn spans(log: &str) -> Vec<Span> {
    let (mut spans, mut service) = (Vec::<Span>::new(), String::new());
    let mut in_resource = false;
    for line in log.lines() {
        let trimmed = line.trim();
        if line.starts_with("ResourceSpans #") {
            in_resource = true;
        } else if line.starts_with("Span #") {
            in_resource = false;
            spans.push(Span { service: service.clone(), ..Span::default() });
        } else if let Some((key, value)) = trimmed.strip_prefix("-> ").and_then(|rest| rest.split_once(": ")) {
            let value = value.split_once('(').map_or(value, |(_, inner)| inner.trim_end_matches(')')).to_owned();
            match spans.last_mut() {
                _ if in_resource && key == "service.name" => service = value,
                Some(span) if !in_resource => drop(span.attributes.insert(key.to_owned(), value)),
                _ => (),
            }
        } else if let (Some(span), Some((key, value))) = (spans.last_mut(), trimmed.split_once(':')) {
            let value = value.trim().to_owned();
            match key.trim() {
                "Trace ID" => span.trace = value,
                "ID" => span.id = value,
                "Parent ID" => span.parent = value,
                "Name" => span.name = value,
                "Kind" => span.kind = value,
                _ => (),
            }
        }
    }
    spans
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT_SPAN: &str = "00f067aa0ba902b7";

fn one_connected_trace(protocol: &str) {
    let collector = Collector::start();
    let endpoint = format!("http://{}", if protocol == "grpc" { &collector.grpc } else { &collector.http });
    let mut engine = engine(&["--otlp-endpoint", &endpoint, "--otlp-protocol", protocol]);
    let telemetry = format!("[telemetry]\notlp_endpoint = \"{endpoint}\"\nprotocol = \"{protocol}\"\n");
    let mut proxy = proxy(&[&engine.url], "least-load", &telemetry);
    let response = ureq::post(format!("{}/v1/chat/completions", proxy.url))
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{TRACE}-{CLIENT_SPAN}-01"))
        .send(chat("hello", 6, true).to_string())
        .unwrap();
    let streamed = response.into_body().read_to_string().unwrap();
    assert!(streamed.contains("[DONE]"));
    assert!(proxy.stop() && engine.stop(), "both end well and flush");
    let spans = wait_for("the spans", || {
        let spans: Vec<Span> = collector.spans().into_iter().filter(|span| span.trace == TRACE).collect();
        let has = |name: &str| spans.iter().any(|span| span.name == name);
        (has("prefill") && has("decode") && has("relay")).then_some(spans)
    });
    check_trace(&spans);
}

#[track_caller]
fn check_trace(spans: &[Span]) {
    let named = |name: &str| {
        let found = spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no span {name} in {spans:#?}"))
    };
    let child = |name: &str, parent: &Span| {
        let span = named(name);
        assert_eq!(span.parent, parent.id, "{name} is below {}: {spans:#?}", parent.name);
        span.clone()
    };
    let root = spans.iter().find(|span| span.parent == CLIENT_SPAN).expect("the proxy continues the client's span");
    assert_eq!((root.service.as_str(), root.kind.as_str()), ("headworks-proxy", "SPAN_KIND_SERVER"));
    assert_eq!(root.attributes["gen_ai.request.model"], "tiny");
    child("admit", root);
    let place = child("place", root);
    assert_eq!(place.attributes["headworks.policy.name"], "least-load");
    assert!(place.attributes["headworks.policy.digest"].starts_with("sha256:"));
    assert_eq!(place.attributes["headworks.policy.verdict"], "replica");
    let send = child("send", root);
    assert_eq!(send.kind, "SPAN_KIND_CLIENT");
    child("relay", root);
    let generate = spans.iter().find(|span| span.parent == send.id).expect("the engine continues the proxy's span");
    assert_eq!((generate.service.as_str(), generate.kind.as_str()), ("headworks-engine", "SPAN_KIND_SERVER"));
    assert_eq!(generate.attributes["gen_ai.usage.output_tokens"], "6");
    for step in ["queue", "prefill", "decode"] {
        child(step, generate);
    }
}

#[test]
fn one_request_makes_one_connected_trace_over_http() {
    one_connected_trace("http");
}

#[test]
fn one_request_makes_one_connected_trace_over_grpc() {
    one_connected_trace("grpc");
}

/// Requests through a proxy and an engine that export to `endpoint`: all go well, and the lost spans are counted.
#[track_caller]
fn check_lost_spans(endpoint: &str) {
    let engine = engine(&["--otlp-endpoint", endpoint]);
    let proxy = proxy(&[&engine.url], "least-load", &format!("[telemetry]\notlp_endpoint = \"{endpoint}\"\n"));
    for _ in 0..10 {
        let body = chat("hi", 2, false).to_string();
        let answer = http::post(&format!("{}/v1/chat/completions", proxy.url), body.as_bytes());
        assert_eq!(answer.status, 200);
    }
    for (page, name) in [
        (format!("{}/metrics", proxy.admin), "headworks_proxy_spans_dropped_total"),
        (format!("{}/metrics", engine.url), "headworks_engine_spans_dropped_total"),
    ] {
        wait_for("lost spans to be counted", || (metric(&http::get(&page).text(), name)? >= 10.0).then_some(()));
    }
}

#[test]
fn a_collector_that_is_down_harms_no_request_and_the_lost_spans_are_counted() {
    check_lost_spans(&format!("http://{}", free_port()));
}

#[test]
fn a_collector_that_never_answers_harms_no_request_and_the_lost_spans_are_counted() {
    // The system accepts connections for it; nobody reads them.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    check_lost_spans(&format!("http://{}", silent.local_addr().unwrap()));
}
