//! One request is one trace: the client's own, with a span for each step, sent to a collector.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use telemetry::{Protocol, Telemetry};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::fixture::guest::{placing, replica};
use crate::fixture::{CHAT, Proxy, Replica, replicas, text};

/// A collector that keeps what it is sent. Attribute names and values stand as plain text in protobuf.
async fn collector() -> (String, mpsc::UnboundedReceiver<Bytes>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, batches) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    assert_eq!(request.uri().path(), "/v1/traces");
                    sender.send(request.into_body().collect().await?.to_bytes()).unwrap();
                    Ok::<_, hyper::Error>(Response::new(Full::<Bytes>::default()))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (endpoint, batches)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policys_fault_is_in_the_trace() {
    let (endpoint, mut batches) = collector().await;
    let telemetry = Telemetry::start(&telemetry::Config {
        endpoint,
        protocol: Protocol::Http,
        sample_ratio: 1.0,
        service: "headworks-proxy".to_owned(),
        attributes: Vec::new(),
        queue_spans_max: 100,
    })
    .unwrap();
    let mut only = Replica::start().await;
    only.answer_all("{}");
    let proxy = Proxy::traced(&format!("limits.poll_interval_ms = 20\n{}", replicas([&only])), telemetry).await;
    proxy.until_healthy(1).await;
    let put = proxy.admin(Method::PUT, "/admin/v1/policies/placement", placing("names-nobody", &replica(9))).await;
    assert_eq!(put.status(), 200);
    assert_eq!(proxy.chat().await.status(), 200);
    let mut sent = Vec::new();
    let wanted = [
        "headworks.policy.faults",
        "placement (names-nobody 1.2.3): it named replica 9, which this fleet does not have",
    ];
    while !wanted.iter().all(|part| holds(&sent, part.as_bytes())) {
        sent.extend_from_slice(&batches.recv().await.expect("the collector is sent spans"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_trace_with_a_span_for_each_step() {
    let (endpoint, mut batches) = collector().await;
    let telemetry = Telemetry::start(&telemetry::Config {
        endpoint,
        protocol: Protocol::Http,
        sample_ratio: 1.0,
        service: "headworks-proxy".to_owned(),
        attributes: Vec::new(),
        queue_spans_max: 100,
    })
    .unwrap();
    let mut only = Replica::start().await;
    let proxy = Proxy::traced(&format!("limits.poll_interval_ms = 20\n{}", replicas([&only])), telemetry).await;
    proxy.until_healthy(1).await;
    let put = proxy.admin(Method::PUT, "/admin/v1/policies/placement", placing("pick-first", &replica(0))).await;
    assert_eq!(put.status(), 200);

    let mut request = proxy.request(Method::POST, "/v1/chat/completions", CHAT);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    request.headers_mut().insert("traceparent", parent.parse().unwrap());
    let (answer, onward) = tokio::join!(proxy.send(request), async {
        let asked = only.asked().await;
        let onward = asked.header("traceparent").unwrap().to_owned();
        asked.answer(200, r#"{"id":"cmpl-1","model":"tiny","usage":{"prompt_tokens":3,"completion_tokens":4}}"#);
        onward
    });
    text(answer).await;
    let [_, onward_trace, onward_span, _] = onward.split('-').collect::<Vec<_>>()[..] else { panic!("{onward}") };
    assert_eq!(onward_trace, trace);
    assert_ne!(onward_span, "b7ad6b7169203331", "the replica's parent is the proxy's own span");

    let mut sent = Vec::new();
    let wanted = [
        "chat",
        "place",
        "send",
        "relay",
        "headworks.policy.name",
        "pick-first",
        "headworks.policy.digest",
        "sha256:",
        "headworks.policy.verdict",
        "headworks.replica",
        "gen_ai.usage.output_tokens",
        "gen_ai.request.model",
        "cmpl-1",
    ];
    while !wanted.iter().all(|part| holds(&sent, part.as_bytes())) {
        sent.extend_from_slice(&batches.recv().await.expect("the collector is sent spans"));
    }
    let id = u128::from_str_radix(trace, 16).unwrap().to_be_bytes();
    let parent = u64::from_str_radix("b7ad6b7169203331", 16).unwrap().to_be_bytes();
    let send = u64::from_str_radix(onward_span, 16).unwrap().to_be_bytes();
    assert!(holds(&sent, &id) && holds(&sent, &parent) && holds(&sent, &send));
    let decisions = proxy.document("/admin/v1/decisions").await;
    assert_eq!(decisions["decisions"][0]["trace_id"], trace);
    assert!(proxy.metric("headworks_proxy_spans_dropped_total").await == 0.0);
}
