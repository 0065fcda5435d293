//! The admin port: who may ask, what is shown, and how the proxy stops.

use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::fixture::{Proxy, Replica, body, replicas, shown, text};

#[tokio::test]
async fn readiness_follows_the_replicas() {
    let replica = Replica::start().await;
    replica.set_healthy(false);
    let proxy = Proxy::start(&replicas([&replica])).await;
    let readyz = || proxy.admin(Method::GET, "/readyz", "");
    assert_eq!(shown(readyz().await).await, "503 Service Unavailable\nnone of the 1 replicas is healthy");
    replica.set_healthy(true);
    proxy.until_healthy(1).await;
    assert_eq!(shown(readyz().await).await, "200 OK\nok");
    assert_eq!(shown(proxy.admin(Method::GET, "/healthz", "").await).await, "200 OK\nok");
    for path in ["/healthz", "/readyz"] {
        let request = proxy.request(Method::GET, path, "");
        assert_eq!(shown(proxy.send(request).await).await, "200 OK\nok", "{path} of the data port");
    }
}

#[tokio::test]
async fn a_token_is_wanted_where_one_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let proxy = Proxy::start(&format!("admin.token_file = {:?}", file)).await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let ask = async |path: &str, token: Option<&str>| {
        let mut request = Request::get(format!("http://{}{path}", proxy.bound.admin));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::<bytes::Bytes>::default()).unwrap();
        client.request(request).await.unwrap().status().as_u16()
    };
    for path in ["/admin/v1/fleet", "/admin/v1/policies", "/metrics", "/admin/v1/events"] {
        assert_eq!(ask(path, None).await, 401, "{path}");
        assert_eq!(ask(path, Some("wrong")).await, 401, "{path}");
        assert_eq!(ask(path, Some("secret")).await, 200, "{path}");
    }
    assert_eq!(ask("/", None).await, 200);
    assert_eq!(ask("/healthz", None).await, 200);
}

#[tokio::test]
async fn a_query_that_is_no_number_is_refused_in_the_apis_shape() {
    let proxy = Proxy::start("").await;
    for (path, name) in [
        ("/admin/v1/decisions?limit=-1", "limit"),
        ("/admin/v1/decisions?limit=abc", "limit"),
        ("/admin/v1/decisions?limit=", "limit"),
        ("/admin/v1/traffic?seconds=x", "seconds"),
    ] {
        let answer = proxy.admin(Method::GET, path, "").await;
        assert_eq!(answer.status(), 400, "{path}");
        let error: serde_json::Value = serde_json::from_str(&text(answer).await).unwrap();
        assert_eq!(error["error"]["param"], name, "{error}");
    }
    assert_eq!(proxy.admin(Method::GET, "/admin/v1/decisions?limit=1&other=x", "").await.status(), 200);
}

#[tokio::test]
async fn a_region_that_is_gone_has_nothing_available() {
    let there = Replica::start().await;
    let mut eu = Proxy::over(&[&there]).await;
    let peer = format!(
        "[[region_peer]]\nname = \"eu\"\ndata_url = \"http://{}\"\nadmin_url = \"http://{}\"\n",
        eu.bound.data, eu.bound.admin
    );
    let us = Proxy::start(&peer).await;
    us.until("fleet", |fleet| fleet["regions"][1]["available"] == 1).await;
    eu.stop().await.unwrap().unwrap();
    let fleet = us.until("fleet", |fleet| fleet["regions"][1]["reachable"] == false).await;
    assert_eq!(fleet["regions"][1]["available"], 0);
    assert_eq!(fleet["regions"][1]["replicas"][0]["name"], "r0", "what was last known of it is still shown");
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let proxy = Proxy::start("").await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let ask = async |method: Method, path: &str, origin: String| {
        let uri = format!("http://{}{path}", proxy.bound.admin);
        let request = Request::builder().method(method).uri(uri).header("origin", origin);
        client.request(request.body(Full::<bytes::Bytes>::default()).unwrap()).await.unwrap().status().as_u16()
    };
    let (foreign, own) = (|| "http://evil.example".to_owned(), || format!("http://{}", proxy.bound.admin));
    let rollback = "/admin/v1/policies/placement/rollback";
    assert_eq!(ask(Method::POST, rollback, foreign()).await, 403);
    assert_eq!(ask(Method::PUT, "/admin/v1/policies/placement", foreign()).await, 403);
    assert_eq!(ask(Method::POST, rollback, own()).await, 404, "let in; there is no such slot");
    assert_eq!(ask(Method::GET, "/admin/v1/policies", foreign()).await, 200);
}

#[tokio::test]
async fn the_dashboard_is_served_with_care() {
    let proxy = Proxy::start("").await;
    let answer = proxy.admin(Method::GET, "/", "").await;
    let headers = answer.headers();
    assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'"));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["cache-control"], "no-cache");
    let tag = headers["etag"].clone();
    assert!(!body(answer).await.is_empty());
    let again = Request::get(format!("http://{}/", proxy.bound.admin)).header("if-none-match", tag);
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let again = client.request(again.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(again.status(), 304);
    assert_eq!(proxy.admin(Method::GET, "/nothing", "").await.status(), 404);
    assert_eq!(proxy.admin(Method::DELETE, "/admin/v1/fleet", "").await.status(), 405);
}

#[tokio::test]
async fn the_ports_do_not_do_each_others_work() {
    let replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    assert_eq!(proxy.admin(Method::POST, "/v1/chat/completions", "{}").await.status(), 404);
    assert_eq!(proxy.send(proxy.request(Method::GET, "/", "")).await.status(), 404);
}

#[tokio::test]
async fn the_metrics_have_these_names() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (_, ()) = tokio::join!(proxy.chat(), async { replica.asked().await.answer(200, "{}") });
    proxy.until("decisions", |all| all[0]["outcome"] == "finished").await;
    let metrics = text(proxy.admin(Method::GET, "/metrics", "").await).await;
    let named: Vec<&str> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    insta::assert_snapshot!(named.join("\n"));
}

#[tokio::test]
async fn what_is_no_component_is_refused_with_the_reason() {
    let proxy = Proxy::start("").await;
    let proxy = &proxy;
    let put = async |slot: &str, bytes: &'static [u8]| {
        proxy.admin(Method::PUT, &format!("/admin/v1/policies/{slot}"), bytes).await
    };
    let garbage = put("placement", b"garbage").await;
    assert_eq!(garbage.status(), 422);
    assert!(text(garbage).await.contains("not a WebAssembly component"));
    assert_eq!(put("a%20b", b"x").await.status(), 400);
    let none = proxy.admin(Method::POST, "/admin/v1/policies/placement/rollback", "").await;
    assert_eq!(none.status(), 404);
    let policies = proxy.document("/admin/v1/policies").await;
    assert_eq!(policies, serde_json::json!({"chain": [], "fallback": "native-least-load"}));
}

#[tokio::test]
async fn a_stop_lets_streams_finish_and_takes_nothing_new() {
    let mut replica = Replica::start().await;
    let mut proxy = Proxy::over(&[&replica]).await;
    let (answer, frames) = tokio::join!(proxy.chat(), async {
        let frames = replica.asked().await.stream();
        frames.send("data: {}\n\n");
        frames
    });
    let stopped = proxy.stop();
    let mut body = answer.into_body();
    body.frame().await.unwrap().unwrap();
    frames.send("data: [DONE]\n\n");
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: [DONE]\n\n");
    drop(frames);
    assert!(body.frame().await.is_none());
    drop(body);
    stopped.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(proxy.data()).await.is_err());
}
