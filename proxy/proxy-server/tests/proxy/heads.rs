//! Requests that two servers could read in two ways, or that never end: each is refused, and nothing of it reaches a replica.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{CHAT, Proxy, Replica, replicas};

const LIMITS: &str = "limits.header_ms_max = 300\nlimits.body_ms_max = 300\nlimits.header_bytes_max = 16384\n";

/// The status of each answer until the proxy closes the connection.
async fn statuses(proxy: &Proxy, request: &[u8]) -> String {
    let mut client = TcpStream::connect(proxy.data()).await.unwrap();
    // A proxy that has refused already need not take the rest.
    let _ = client.write_all(request).await;
    let mut answers = Vec::new();
    // What it closes with bytes unread ends in a reset, after the answer.
    let _ = client.read_to_end(&mut answers).await;
    let answers = String::from_utf8_lossy(&answers);
    let statuses: Vec<&str> = answers.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)).collect();
    match statuses.is_empty() {
        true => "closed".to_owned(),
        false => statuses.join(" "),
    }
}

/// A chat request with these lines in its head, which say how long its body is, and that body.
fn chat(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n{body}").into_bytes()
}

fn long(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().collect()
}

#[tokio::test]
async fn what_is_ambiguous_or_endless_is_refused_and_reaches_no_replica() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&format!("{LIMITS}{}", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    let sized = format!("host: a\r\ncontent-length: {}\r\n", CHAT.len());
    let with = |line: &str| chat(&format!("{sized}{line}"), CHAT);
    let chunked = |body: &str| chat("host: a\r\ntransfer-encoding: chunked\r\n", body);
    let get = |head: &str| format!("{head}\r\n\r\n").into_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("two lengths that differ", with("content-length: 5\r\n")),
        ("a list of lengths", chat("host: a\r\ncontent-length: 5, 5\r\n", "hello")),
        ("a length with a sign", chat("host: a\r\ncontent-length: +5\r\n", "hello")),
        ("a negative length", chat("host: a\r\ncontent-length: -5\r\n", "hello")),
        ("a length in hex", chat("host: a\r\ncontent-length: 0x5\r\n", "hello")),
        ("a length beyond numbers", chat("host: a\r\ncontent-length: 99999999999999999999999\r\n", "hello")),
        ("an empty length", chat("host: a\r\ncontent-length:\r\n", "hello")),
        ("identity coding", with("transfer-encoding: identity\r\n")),
        ("an unknown coding", chat("host: a\r\ntransfer-encoding: xchunked\r\n", "0\r\n\r\n")),
        ("chunked within another coding", chat("host: a\r\ntransfer-encoding: chunked, gzip\r\n", "0\r\n\r\n")),
        ("another coding within chunked", chat("host: a\r\ntransfer-encoding: gzip, chunked\r\n", "0\r\n\r\n")),
        ("chunked twice", chat("host: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n")),
        ("chunked after a tab", chat("host: a\r\ntransfer-encoding: \x0bchunked\r\n", "0\r\n\r\n")),
        (
            "chunked in HTTP/1.0",
            b"POST /v1/chat/completions HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        ),
        ("a folded line", with("x-a: b\r\n c\r\n")),
        ("a folded first line", chat(&format!(" x: y\r\n{sized}"), CHAT)),
        ("a space before the colon", with("x-a : b\r\n")),
        ("a name with a space", with("x a: b\r\n")),
        ("an empty name", with(": b\r\n")),
        ("a line without a colon", with("x-a\r\n")),
        ("NUL in a value", with("x-a: b\0c\r\n")),
        ("NUL in a name", with("x\0a: b\r\n")),
        ("CR in a value", with("x-a: b\rc\r\n")),
        ("NUL in the target", get("GET /v1/\0x HTTP/1.1\r\nhost: a")),
        ("a space in the target", get("GET /v1/x y HTTP/1.1\r\nhost: a")),
        ("no target", get("GET HTTP/1.1\r\nhost: a")),
        ("an unknown version", get("GET /v1/x HTTP/3.7\r\nhost: a")),
        ("no version", get("GET /v1/x")),
        ("no host", get("GET /v1/x HTTP/1.1\r\nconnection: close")),
        ("two hosts", with("host: a\r\n")),
        ("two hosts that differ", with("host: b\r\n")),
        ("a host that is none", get("GET /v1/x HTTP/1.1\r\nhost: a/b")),
        ("a host that is not the target's", get("GET http://b/v1/x HTTP/1.1\r\nhost: a")),
        ("a bad chunk size", chunked("xyz\r\nhello\r\n0\r\n\r\n")),
        ("a negative chunk size", chunked("-5\r\nhello\r\n0\r\n\r\n")),
        ("a chunk size in C's hex", chunked("0x5\r\nhello\r\n0\r\n\r\n")),
        ("a chunk size beyond numbers", chunked("fffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
        ("an empty chunk size", chunked("\r\nhello\r\n0\r\n\r\n")),
        ("a chunk longer than its size", chunked("3\r\nhello\r\n0\r\n\r\n")),
        ("endless chunk extensions", chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(40_000)))),
        ("endless trailers", chunked(&format!("0\r\n{}\r\n", long((0..2000).map(|n| format!("x-{n}: {n}\r\n")))))),
        ("an oversized head", with(&format!("x-a: {}\r\n", "b".repeat(20_000)))),
        ("too many headers", with(&long((0..200).map(|n| format!("x-{n}: {n}\r\n"))))),
        ("an endless target", get(&format!("GET /v1/{} HTTP/1.1\r\nhost: a", "x".repeat(70_000)))),
        ("a slow head", b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-a".to_vec()),
        ("a slow body", chat(&sized, &CHAT[..10])),
        ("a slow chunk", chunked("ff\r\nhel")),
    ];
    let mut all = String::new();
    for (name, request) in cases {
        all += &format!("{}: {name}\n", statuses(&proxy, &request).await);
        assert!(replica.is_idle(), "{name} reached the replica");
    }
    insta::assert_snapshot!(all);
}

/// What a replica gets of requests on one connection, and the statuses of the answers.
async fn relayed(request: &[u8], requests: usize) -> (String, Vec<String>) {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&format!("{LIMITS}{}", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    let mut bodies = Vec::new();
    let asked = async {
        for _ in 0..requests {
            let asked = replica.asked().await;
            assert_eq!(asked.head.headers.get_all("content-length").iter().count(), 1);
            assert!(!asked.head.headers.contains_key("transfer-encoding"));
            bodies.push(String::from_utf8(asked.body.to_vec()).unwrap());
            asked.answer(200, "{}");
        }
    };
    let (statuses, ()) = tokio::join!(statuses(&proxy, request), asked);
    assert!(replica.is_idle(), "no more than is meant");
    (statuses, bodies)
}

fn chunks(text: &str) -> String {
    let (first, second) = text.split_at(10);
    format!("{:x};ext=\"a b\"\r\n{first}\r\n{:X}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len())
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_believed_and_ends_the_connection() {
    for lines in [
        "host: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
        "host: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        let smuggled = b"GET /v1/smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        let request = [&chat(lines, &chunks(CHAT))[..], smuggled].concat();
        assert_eq!(relayed(&request, 1).await, ("200".to_owned(), vec![CHAT.to_owned()]), "{lines}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let sized = format!("host: a\r\ncontent-length: {}\r\n", CHAT.len());
    let last = chat("host: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n", &chunks(CHAT));
    let request = [&chat(&sized, CHAT)[..], &last].concat();
    assert_eq!(relayed(&request, 2).await, ("200 200".to_owned(), vec![CHAT.to_owned(); 2]));
}

#[tokio::test]
async fn the_same_length_twice_is_one_length() {
    let length = format!("content-length: {}\r\n", CHAT.len());
    let request = chat(&format!("host: a\r\nconnection: close\r\n{length}{length}"), CHAT);
    assert_eq!(relayed(&request, 1).await, ("200".to_owned(), vec![CHAT.to_owned()]));
}

#[tokio::test]
async fn an_answer_whose_end_http_1_0_could_not_see_closes_the_connection() {
    let head = format!(
        "POST /v1/chat/completions HTTP/1.0\r\ncontent-length: {}\r\nconnection: keep-alive\r\n\r\n",
        CHAT.len()
    );
    let request = format!("{head}{CHAT}");
    assert_eq!(relayed(request.as_bytes(), 1).await, ("200".to_owned(), vec![CHAT.to_owned()]));
}
