//! HTTP/2 on the data port: by prior knowledge, and where TLS agrees on it.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;

use crate::fixture::{Proxy, Replica, replicas};
use crate::tls::{connector_of, lines};

const BODY: &str = r#"{"model":"tiny","messages":[]}"#;

async fn client(io: impl Read + Write + Unpin + Send + 'static) -> SendRequest<Full<Bytes>> {
    let (client, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn plain(proxy: &Proxy) -> SendRequest<Full<Bytes>> {
    client(TokioIo::new(TcpStream::connect(proxy.data()).await.unwrap())).await
}

fn chat() -> Request<Full<Bytes>> {
    let request = Request::post("http://x/v1/chat/completions").version(Version::HTTP_2);
    request.body(Full::new(Bytes::from_static(BODY.as_bytes()))).unwrap()
}

#[tokio::test]
async fn requests_share_a_connection() {
    let mut replica = Replica::start().await;
    replica.answer_all(r#"{"ok":1}"#);
    let proxy = Proxy::start(&replicas([&replica])).await;
    proxy.until_healthy(1).await;
    let client = plain(&proxy).await;
    let one = async || {
        let answer = client.clone().send_request(chat()).await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_2, 200));
        answer.into_body().collect().await.unwrap().to_bytes()
    };
    for body in join_all((0..50).map(|_| one())).await {
        assert_eq!(&body[..], br#"{"ok":1}"#);
    }
}

#[tokio::test]
async fn the_replica_sees_the_host_and_no_pseudo_header() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&replicas([&replica])).await;
    proxy.until_healthy(1).await;
    let mut client = plain(&proxy).await;
    let (answer, ()) = tokio::join!(client.send_request(chat()), async {
        let asked = replica.asked().await;
        assert_eq!(asked.header(":authority"), None);
        asked.answer(200, "{}");
    });
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stream_passes_and_a_client_that_resets_its_own_ends_that_work_alone() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&replicas([&replica])).await;
    proxy.until_healthy(1).await;
    let mut client = plain(&proxy).await;
    let mut begin = async || {
        let mut second = client.clone();
        let sent = tokio::spawn(async move { second.send_request(chat()).await.unwrap() });
        let frames = replica.asked().await.stream();
        frames.send("data: {}\n\n");
        (sent.await.unwrap(), frames)
    };
    let (left, abandoned) = begin().await;
    let (mut stays, frames) = begin().await;
    drop(left);
    abandoned.left().await;
    frames.send("data: [DONE]\n\n");
    drop(frames);
    let mut text = String::new();
    while let Some(frame) = stays.body_mut().frame().await {
        if let Ok(data) = frame.unwrap().into_data() {
            text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }
    assert_eq!(text, "data: {}\n\ndata: [DONE]\n\n");
    assert!(client.ready().await.is_ok());
}

#[tokio::test]
async fn tls_agrees_on_it() {
    let mut replica = Replica::start().await;
    replica.answer_all("{}");
    let proxy = Proxy::start(&format!("{}{}", lines(), replicas([&replica]))).await;
    let stream = TcpStream::connect(proxy.data()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector_of(&[b"h2"]).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = client(TokioIo::new(stream)).await;
    let request = Request::get("https://localhost/health").body(Full::default()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stop_lets_a_stream_finish() {
    let mut replica = Replica::start().await;
    let mut proxy = Proxy::start(&replicas([&replica])).await;
    proxy.until_healthy(1).await;
    let mut client = plain(&proxy).await;
    let sent = tokio::spawn(async move { client.send_request(chat()).await });
    let frames = replica.asked().await.stream();
    frames.send("data: {}\n\n");
    let answer = sent.await.unwrap().unwrap();
    let stopped = proxy.stop();
    frames.send("data: [DONE]\n\n");
    drop(frames);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"data: {}\n\ndata: [DONE]\n\n");
    stopped.await.unwrap().unwrap();
}

/// Nobody waits at the stop for a client that has said nothing.
#[tokio::test]
async fn a_stop_does_not_wait_for_the_silent() {
    let mut proxy = Proxy::start("limits.drain_ms_max = 600000\nlimits.header_ms_max = 600000\n").await;
    let mut silent = TcpStream::connect(proxy.data()).await.unwrap();
    proxy.stop().await.unwrap().unwrap();
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut [0]).await;
    assert!(!matches!(read, Ok(1..)), "{read:?}");
}
