//! Real sockets: which connections are used again, and which answers are asked for again.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use upstream::{Again, Bounds, Error, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn client() -> Upstream {
    let (connect_time_max, idle_time_max) = (Duration::from_secs(5), Duration::from_secs(60));
    Upstream::new(Bounds { connect_time_max, idle_max: 4, idle_time_max, threads: 1 })
}

async fn server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/x", listener.local_addr().expect("it is bound"));
    (listener, url)
}

async fn ask(client: &Upstream, url: &str, again: Again) -> Result<String, Error> {
    let request = Request::post(url).body(Bytes::from_static(b"hello")).expect("a good request");
    let answer = client.request(request, again).await?;
    let bytes = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads one request, to its body's end.
async fn heard(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"hello") {
        assert_ne!(socket.read_buf(&mut text).await.expect("it can be read"), 0, "it closed early");
    }
    String::from_utf8(text).expect("plain text")
}

async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.expect("a connection").0
}

async fn say(socket: &mut TcpStream, text: &str) {
    socket.write_all(text.as_bytes()).await.expect("it can be written");
}

#[tokio::test]
async fn a_connection_is_used_again_and_requests_arrive_whole() {
    let ((listener, url), client) = (server().await, client());
    let serve = async {
        let mut socket = accept(&listener).await;
        let host = listener.local_addr().expect("it is bound");
        for _ in 0..3 {
            let request = format!("POST /x HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\n\r\nhello");
            assert_eq!(heard(&mut socket).await, request);
            say(&mut socket, OK).await;
        }
    };
    let asks = async {
        for _ in 0..3 {
            assert_eq!(ask(&client, &url, Again::Never).await.expect("an answer"), "ok");
        }
    };
    tokio::join!(serve, asks);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used() {
    let ((listener, url), client) = (server().await, client());
    for _ in 0..2 {
        let serve = async {
            let mut socket = accept(&listener).await;
            heard(&mut socket).await;
            say(&mut socket, OK).await;
        };
        // The socket is closed when both are over, so the second round begins with a dead one in the pool.
        let (_, answer) = tokio::join!(serve, ask(&client, &url, Again::Harmless));
        assert_eq!(answer.expect("an answer"), "ok");
    }
}

/// The server takes a second request on a kept connection and closes without a word.
async fn close_unanswered(again: Again) -> (Result<String, Error>, &'static str) {
    let ((listener, url), client) = (server().await, client());
    let serve = async {
        let mut socket = accept(&listener).await;
        heard(&mut socket).await;
        say(&mut socket, OK).await;
        heard(&mut socket).await;
        drop(socket);
        if again == Again::Never {
            return "left alone";
        }
        let mut socket = accept(&listener).await;
        heard(&mut socket).await;
        say(&mut socket, OK).await;
        "asked again"
    };
    let asks = async {
        ask(&client, &url, again).await.expect("the first answer");
        ask(&client, &url, again).await
    };
    let (heard, answer) = tokio::join!(serve, asks);
    (answer, heard)
}

#[tokio::test]
async fn only_what_is_harmless_is_sent_again() {
    let (answer, server) = close_unanswered(Again::Harmless).await;
    assert_eq!((answer.expect("an answer").as_str(), server), ("ok", "asked again"));
    let (answer, server) = close_unanswered(Again::Never).await;
    assert!(matches!(answer, Err(Error::Unanswered(_))), "{answer:?}");
    assert_eq!(server, "left alone");
}

#[tokio::test]
async fn an_answer_with_a_tail_does_not_poison_the_next() {
    let ((listener, url), client) = (server().await, client());
    for _ in 0..2 {
        let serve = async {
            let mut socket = accept(&listener).await;
            heard(&mut socket).await;
            say(&mut socket, &format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")).await;
            socket
        };
        let (_socket, answer) = tokio::join!(serve, ask(&client, &url, Again::Never));
        assert_eq!(answer.expect("an answer"), "ok");
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_closes_its_connection() {
    let ((listener, url), client) = (server().await, client());
    let serve = async {
        let mut socket = accept(&listener).await;
        heard(&mut socket).await;
        say(&mut socket, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").await;
        assert_eq!(socket.read(&mut [0]).await.expect("an orderly end"), 0);
    };
    let asks = async {
        let request = Request::post(&url).body(Bytes::from_static(b"hello")).expect("a good request");
        let mut body = client.request(request, Again::Never).await.expect("an answer").into_body();
        let first = body.frame().await.expect("a frame").expect("a whole one");
        assert_eq!(first.into_data().expect("data"), "a");
    };
    tokio::join!(serve, asks);
}

#[tokio::test]
async fn an_answer_before_the_request_is_read_is_heard_and_the_rest_still_goes() {
    let ((listener, url), client) = (server().await, client());
    // More than both sockets' buffers hold.
    let len = 16 << 20;
    let serve = async {
        let mut socket = accept(&listener).await;
        say(&mut socket, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").await;
        let mut text = Vec::new();
        while text.len() < len {
            assert_ne!(socket.read_buf(&mut text).await.expect("it can be read"), 0, "the rest is missing");
        }
        say(&mut socket, "k").await;
    };
    let asks = async {
        let request = Request::post(&url).body(Bytes::from(vec![b'x'; len])).expect("a good request");
        let answer = client.request(request, Again::Never).await.expect("an answer");
        assert_eq!(answer.into_body().collect().await.expect("a whole body").to_bytes(), "ok");
    };
    tokio::join!(serve, asks);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let client = client();
    let https = ask(&client, "https://h/x", Again::Never).await.expect_err("no TLS here");
    assert_eq!(https.to_string(), "https://h/x is not the URL of a server; write it as http://host:port/path");
    let (listener, url) = server().await;
    drop(listener);
    let refused = ask(&client, &url, Again::Never).await.expect_err("nobody listens");
    assert!(refused.is_connect(), "{refused:?}");
}
