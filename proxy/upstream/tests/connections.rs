//! Real sockets: which connections are used again, how many there are, and which answers are asked for again.

mod common;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use upstream::{Again, Bounds, Error, Outgoing, Server};

use common::{BOUNDS, plain};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A listener, and who asks it.
async fn server() -> (TcpListener, Server) {
    server_within(BOUNDS).await
}

async fn server_within(bounds: Bounds) -> (TcpListener, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = Server::new(plain(listener.local_addr().expect("it is bound")), bounds);
    (listener, server)
}

fn post(body: &'static [u8]) -> Request<Outgoing> {
    Request::post("/x").header("host", "h").body(Bytes::from_static(body).into()).expect("a good request")
}

async fn ask(server: &Server, again: Again) -> Result<String, Error> {
    let answer = server.request(post(b"hello"), again).await?;
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
    let (listener, client) = server().await;
    let serve = async {
        let mut socket = accept(&listener).await;
        for _ in 0..3 {
            let request = "POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello";
            assert_eq!(heard(&mut socket).await, request);
            say(&mut socket, OK).await;
        }
    };
    let asks = async {
        for _ in 0..3 {
            assert_eq!(ask(&client, Again::Never).await.expect("an answer"), "ok");
        }
    };
    tokio::join!(serve, asks);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used() {
    let (listener, client) = server().await;
    for _ in 0..2 {
        let serve = async {
            let mut socket = accept(&listener).await;
            heard(&mut socket).await;
            say(&mut socket, OK).await;
        };
        // The socket is closed when both are over, so the second round begins with a dead one in the pool.
        let (_, answer) = tokio::join!(serve, ask(&client, Again::Harmless));
        assert_eq!(answer.expect("an answer"), "ok");
    }
}

/// The server takes a second request on a kept connection and closes without a word.
async fn close_unanswered(again: Again) -> (Result<String, Error>, &'static str) {
    let (listener, client) = server().await;
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
        ask(&client, again).await.expect("the first answer");
        ask(&client, again).await
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
    let (listener, client) = server().await;
    for _ in 0..2 {
        let serve = async {
            let mut socket = accept(&listener).await;
            heard(&mut socket).await;
            say(&mut socket, &format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")).await;
            socket
        };
        let (_socket, answer) = tokio::join!(serve, ask(&client, Again::Never));
        assert_eq!(answer.expect("an answer"), "ok");
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_closes_its_connection() {
    let (listener, client) = server().await;
    let serve = async {
        let mut socket = accept(&listener).await;
        heard(&mut socket).await;
        say(&mut socket, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").await;
        assert_eq!(socket.read(&mut [0]).await.expect("an orderly end"), 0);
    };
    let asks = async {
        let mut body = client.request(post(b"hello"), Again::Never).await.expect("an answer").into_body();
        let first = body.frame().await.expect("a frame").expect("a whole one");
        assert_eq!(first.into_data().expect("data"), "a");
    };
    tokio::join!(serve, asks);
}

#[tokio::test]
async fn an_answer_before_the_request_is_read_is_heard_and_the_rest_still_goes() {
    let (listener, client) = server().await;
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
        let request = Request::post("/x").body(Bytes::from(vec![b'x'; len]).into()).expect("a good request");
        let answer = client.request(request, Again::Never).await.expect("an answer");
        assert_eq!(answer.into_body().collect().await.expect("a whole body").to_bytes(), "ok");
    };
    tokio::join!(serve, asks);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let (listener, client) = server().await;
    drop(listener);
    let refused = ask(&client, Again::Never).await.expect_err("nobody listens");
    assert!(refused.is_connect(), "{refused:?}");
    assert_eq!(client.connections(), 0);
}

#[tokio::test]
async fn who_finds_all_connections_in_use_waits_for_the_first_that_comes_free() {
    let (listener, client) = server_within(Bounds { connections_max: 1, ..BOUNDS }).await;
    let serve = async {
        let mut socket = accept(&listener).await;
        for _ in 0..3 {
            heard(&mut socket).await;
            say(&mut socket, OK).await;
        }
    };
    let asks = async {
        let (one, two, three) =
            tokio::join!(ask(&client, Again::Never), ask(&client, Again::Never), ask(&client, Again::Never));
        for answer in [one, two, three] {
            assert_eq!(answer.expect("an answer"), "ok");
        }
        assert_eq!((client.connections(), client.waiting()), (1, 0));
    };
    tokio::join!(serve, asks);
}

#[tokio::test]
async fn who_waits_too_long_for_a_connection_is_told_so() {
    let bounds = Bounds { connections_max: 1, wait_time_max: Duration::from_millis(20), ..BOUNDS };
    let (listener, client) = server_within(bounds).await;
    let serve = async {
        let mut socket = accept(&listener).await;
        heard(&mut socket).await;
        say(&mut socket, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        socket
    };
    let (answer, socket) = tokio::join!(client.request(post(b"hello"), Again::Never), serve);
    let refused = ask(&client, Again::Never).await.expect_err("there is no room");
    assert!(refused.is_no_room() && !refused.is_connect(), "{refused:?}");
    assert!(refused.to_string().ends_with("came free: all 1 connections are in use"), "{refused}");
    // The connection of an answer that is dropped is closed, which makes room.
    drop((answer, socket));
    let serve = async {
        let mut socket = accept(&listener).await;
        heard(&mut socket).await;
        say(&mut socket, OK).await;
    };
    let ((), answer) = tokio::join!(serve, ask(&client, Again::Never));
    assert_eq!(answer.expect("an answer"), "ok");
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let (listener, client) = server().await;
    let serve = async {
        let mut socket = accept(&listener).await;
        let mut text = Vec::new();
        while !text.ends_with(b"x-sum: 7\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut text).await.expect("it can be read"), 0, "it closed early");
        }
        assert!(String::from_utf8_lossy(&text).ends_with("chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"));
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        say(&mut socket, &format!("{head}2\r\nok\r\n0\r\nx-took: 9\r\n\r\n")).await;
    };
    let asks = async {
        let mut request = post(b"hello");
        let trailers = [("x-sum".parse().expect("a name"), "7".parse().expect("a value"))];
        request.body_mut().trailers = Some(Box::new(trailers.into_iter().collect()));
        let body = client.request(request, Again::Never).await.expect("an answer").into_body();
        let body = body.collect().await.expect("a whole body");
        assert_eq!(body.trailers().expect("trailers")["x-took"], "9");
        assert_eq!(body.to_bytes(), "ok");
    };
    tokio::join!(serve, asks);
}

#[tokio::test]
async fn a_switched_connection_is_its_callers() {
    let (listener, client) = server().await;
    let serve = async {
        let mut socket = accept(&listener).await;
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut text).await.expect("it can be read"), 0, "it closed early");
        }
        say(&mut socket, "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhi").await;
        let mut said = [0; 2];
        socket.read_exact(&mut said).await.expect("two bytes");
        assert_eq!(&said, b"yo");
    };
    let asks = async {
        let request = Request::get("/x").header("host", "h").header("connection", "upgrade").header("upgrade", "echo");
        let request = request.body(Outgoing::default()).expect("a good request");
        let answer = client.request(request, Again::Never).await.expect("an answer");
        assert_eq!(answer.status(), 101);
        let mut switched = answer.into_body().upgraded().expect("it has switched");
        let mut said = [0; 2];
        switched.read_exact(&mut said).await.expect("what came with the head");
        assert_eq!(&said, b"hi");
        switched.write_all(b"yo").await.expect("it can be written");
        assert_eq!(client.connections(), 1);
    };
    tokio::join!(serve, asks);
    assert_eq!(client.connections(), 0, "it counts until it is dropped");
}

#[tokio::test]
async fn nobody_switches_unasked() {
    let (listener, client) = server().await;
    let serve = async {
        let mut socket = accept(&listener).await;
        heard(&mut socket).await;
        say(&mut socket, "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\n\r\n").await;
    };
    let ((), answer) = tokio::join!(serve, ask(&client, Again::Never));
    assert!(matches!(answer, Err(Error::Broken(_))), "{answer:?}");
}
