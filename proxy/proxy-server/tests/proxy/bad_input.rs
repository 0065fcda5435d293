//! What clients get wrong, and what they are told: OpenAI's error shape.

use http::{HeaderName, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{CHAT, Proxy, Replica, replicas, shown};

#[tokio::test]
async fn errors_say_what_to_change() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&format!("limits.body_bytes_max = 1000\n{}", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    let chat = "/v1/chat/completions";
    let long_model = format!("{{\"model\":\"{}\"}}", "x".repeat(257));
    let long_path = format!("/v1/files?{}", "x".repeat(32 << 10));
    let cases: [(&str, Method, &str, Vec<u8>); 13] = [
        ("malformed JSON", Method::POST, chat, b"{\"model\": tiny}".to_vec()),
        ("cut off", Method::POST, chat, b"{\"model\": \"ti".to_vec()),
        ("empty body", Method::POST, chat, Vec::new()),
        ("two documents", Method::POST, chat, b"{} {}".to_vec()),
        ("not an object", Method::POST, chat, b"[1]".to_vec()),
        ("invalid UTF-8", Method::POST, chat, b"{\"model\":\"tiny\",\"messages\":\"\xff\"}".to_vec()),
        ("model not a string", Method::POST, chat, b"{\"model\":5}".to_vec()),
        ("model too long", Method::POST, chat, long_model.into()),
        ("unknown model", Method::POST, chat, b"{\"model\":\"huge\"}".to_vec()),
        ("wrong method", Method::GET, chat, Vec::new()),
        ("unknown path", Method::POST, "/admin/v1/fleet", Vec::new()),
        ("dot segments", Method::POST, "/v1/x/%2e%2E/files", Vec::new()),
        ("path too long", Method::POST, &long_path, Vec::new()),
    ];
    let mut all = String::new();
    for (name, method, path, body) in cases {
        let answer = proxy.send(proxy.request(method, path, body)).await;
        all += &format!("# {name}\n{}\n", shown(answer).await);
    }
    let too_large = proxy.post(chat, vec![b' '; 1001]).await;
    all += &format!("# too large\n{}\n", shown(too_large).await);
    insta::assert_snapshot!(all);
    assert!(replica.is_idle(), "no bad request reaches a replica");
}

#[tokio::test]
async fn what_proxies_write_is_no_more_of_the_clients_headers() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    replica.answer_all("{}");
    // `host`, `content-type` and `content-length` are three more.
    let request = |headers: usize| {
        let mut request = proxy.request(Method::POST, "/v1/chat/completions", CHAT);
        for header in 3..headers {
            request.headers_mut().insert(format!("x-{header}").parse::<HeaderName>().unwrap(), 1.into());
        }
        request
    };
    assert_eq!(proxy.send(request(100)).await.status(), 200);
    let mut forwarded = request(100);
    for (name, value) in [
        ("x-request-id", "mine"),
        ("x-headworks-hop", "1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=b"),
    ] {
        forwarded.headers_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(proxy.send(forwarded).await.status(), 200);
    insta::assert_snapshot!(shown(proxy.send(request(101)).await).await);
}

#[tokio::test]
async fn ten_mebibytes_are_refused_and_the_client_hears_it() {
    let replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let answer = proxy.post("/v1/chat/completions", vec![b' '; 10 << 20]).await;
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn ten_chunked_mebibytes_are_refused_too() {
    let replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let mut client = TcpStream::connect(proxy.data()).await.unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"100000\r\n", &vec![b' '; 1 << 20][..], b"\r\n"].concat();
    for _ in 0..10 {
        client.write_all(&chunk).await.unwrap();
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{answer}");
}

#[tokio::test]
async fn one_who_waits_to_be_told_to_continue_is_refused_before_sending() {
    let replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let mut client = TcpStream::connect(proxy.data()).await.unwrap();
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99999999\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{answer}");
}

#[tokio::test]
async fn too_many_in_flight_are_turned_away() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&format!("limits.in_flight_max = 1\n{}", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    let (first, ()) = tokio::join!(proxy.chat(), async {
        let asked = replica.asked().await;
        insta::assert_snapshot!(shown(proxy.chat().await).await);
        asked.answer(200, "{}");
    });
    assert_eq!(first.status(), 200);
}
