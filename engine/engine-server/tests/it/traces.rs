//! A request's spans reach a collector, below the client's own.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use telemetry::{Protocol, QUEUE_SPANS_MAX, Telemetry};

use crate::harness::{Engine, config};

/// Takes OTLP over HTTP and keeps the bytes. Returns its address.
async fn collector(taken: Arc<Mutex<Vec<u8>>>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let taken = taken.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let taken = taken.clone();
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    taken.lock().unwrap().extend_from_slice(&body);
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_below_the_clients_with_its_phases() {
    let taken = Arc::<Mutex<Vec<u8>>>::default();
    let telemetry = Telemetry::start(&telemetry::Config {
        endpoint: format!("http://{}", collector(taken.clone()).await),
        protocol: Protocol::Http,
        sample_ratio: 1.0,
        service: "headworks-engine".to_owned(),
        attributes: Vec::new(),
        queue_spans_max: QUEUE_SPANS_MAX,
    })
    .unwrap();
    let exported = telemetry.exported_total();
    let engine = Engine::start_traced(config(), telemetry).await;
    let ask = json!({ "model": "tiny", "prompt": "Hello", "max_tokens": 4, "temperature": 0 }).to_string();
    let mut request = engine.request(Method::POST, "/v1/completions", ask);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.headers_mut().insert("traceparent", parent.parse().unwrap());
    engine.send(request).await.into_body().collect().await.unwrap();
    let all = async {
        while exported() < 4 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("a request and its three phases");
    let bytes = taken.lock().unwrap().clone();
    let count = |needle: &[u8]| bytes.windows(needle.len()).filter(|window| *window == needle).count();
    let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
    assert_eq!(count(&trace), 4, "all spans are in the client's trace");
    assert_eq!(count(&0xb7ad_6b71_6920_3331_u64.to_be_bytes()), 1, "one of them below the client's span");
    for name in ["queue", "prefill", "decode", "text_completion", "gen_ai.usage.output_tokens"] {
        assert!(count(name.as_bytes()) > 0, "{name}");
    }
    assert_eq!(engine.metric("headworks_engine_spans_dropped_total").await, 0.0);
}
