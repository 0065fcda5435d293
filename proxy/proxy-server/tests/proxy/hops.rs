//! What one hop does to a message: which headers go on, in which order, trailers, `Expect`, and slow heads.

use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{CHAT, Proxy, Replica, Speaks, replicas};

/// A replica that answers its looks, and one completion by its head's lines as they came.
async fn lines_at_a_replica(lines: &[&str], replica_says: &str) -> (Vec<String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = tokio::spawn(answer_one(listener, replica_says.to_owned()));
    let proxy = Proxy::start(&format!("[[replica]]\nname = \"raw\"\nurl = \"{url}\"\nkind = \"openai\"\n")).await;
    proxy.until_healthy(1).await;
    let mut client = TcpStream::connect(proxy.data()).await.unwrap();
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: proxy\r\n{}", lines.join("\r\n"));
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{CHAT}", CHAT.len());
    client.write_all(request.as_bytes()).await.unwrap();
    let heard = heard.await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"{}") {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "the answer is whole");
    }
    let lines = heard.lines().skip(1).filter(|line| !line.is_empty()).map(ToOwned::to_owned);
    (lines.collect(), String::from_utf8(answer).unwrap())
}

/// Speaks for a replica of no kind until a completion is asked for; gives that one's head.
async fn answer_one(listener: TcpListener, says: String) -> String {
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        loop {
            let end = read.windows(4).position(|window| window == b"\r\n\r\n");
            let Some(end) = end else {
                match socket.read_buf(&mut read).await {
                    Ok(1..) => continue,
                    Ok(0) | Err(_) => break,
                }
            };
            let head = String::from_utf8(read[..end].to_vec()).unwrap();
            if head.starts_with("GET ") {
                let models = r#"{"object":"list","data":[{"id":"tiny","object":"model"}]}"#;
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{models}", models.len());
                socket.write_all(answer.as_bytes()).await.unwrap();
                break;
            }
            while read.len() < end + 4 + CHAT.len() {
                assert_ne!(socket.read_buf(&mut read).await.unwrap(), 0, "the request is whole");
            }
            socket.write_all(says.as_bytes()).await.unwrap();
            return head;
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

#[track_caller]
fn check(heard: &[String], expected: &[&str]) {
    let own = |line: &&String| !["host", "content-length", "x-request-id"].iter().any(|name| line.starts_with(name));
    assert_eq!(heard.iter().filter(own).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn headers_arrive_in_their_order_and_those_of_one_hop_do_not() {
    let given = [
        "z-last-in-the-alphabet: 1",
        "Connection: close, X-Named",
        "X-Named: here only",
        "a: 2",
        "Keep-Alive: timeout=5",
        "x-many: one",
        "Proxy-Connection: keep-alive",
        "x-many: two",
        "TE: gzip",
        "Proxy-Authorization: Basic eA==",
        "authorization: Bearer sk",
        "Upgrade: h2c",
        "m:   spaced  value  ",
        "Content-Type: application/json",
        "empty:",
    ];
    let (heard, _) = lines_at_a_replica(&given, OK).await;
    let expected = [
        "z-last-in-the-alphabet: 1",
        "a: 2",
        "x-many: one",
        "x-many: two",
        "authorization: Bearer sk",
        "m: spaced  value",
        "content-type: application/json",
        "empty: ",
    ];
    check(&heard, &expected);
    assert_eq!(heard.iter().filter(|line| line.starts_with("content-length")).count(), 1);
}

#[tokio::test]
async fn interim_answers_are_the_replicas_business_with_us() {
    let says = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n{OK}");
    let (heard, answer) = lines_at_a_replica(&["expect: 100-continue"], &says).await;
    check(&heard, &[]);
    // Ours to the client, who asked for it; none of the replica's.
    assert_eq!(answer.matches("HTTP/1.1 100 Continue\r\n\r\n").count(), 1, "{answer}");
    assert!(!answer.contains("103") && answer.contains("HTTP/1.1 200 OK"), "{answer}");
}

async fn read_some(client: &mut TcpStream, until: &str) -> String {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(until) {
        assert_ne!(client.read_buf(&mut text).await.unwrap(), 0, "{}", String::from_utf8_lossy(&text));
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_client_that_expects_to_be_told_to_go_on_is_told_or_refused_before_its_body() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&format!("limits.body_bytes_max = 1000\n{}", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    let mut client = TcpStream::connect(proxy.data()).await.unwrap();
    let head = |length: usize| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    client.write_all(head(CHAT.len()).as_bytes()).await.unwrap();
    assert_eq!(read_some(&mut client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(CHAT.as_bytes()).await.unwrap();
    let asked = replica.asked().await;
    assert_eq!(asked.header("expect"), None);
    asked.answer(200, "{}");
    assert!(read_some(&mut client, "{}").await.starts_with("HTTP/1.1 200 OK"));
    client.write_all(head(1_000_000).as_bytes()).await.unwrap();
    assert!(read_some(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 413 "), "no body is asked for");
}

const CHUNKED: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n";

/// A chunked request with trailers and a chunked answer with one, to a replica that is spoken to like this.
async fn trailers(speaks: Speaks, http2: &str) {
    let mut replica = Replica::speaking(&["tiny"], speaks).await;
    let proxy = Proxy::start(&format!("{}http2 = \"{http2}\"\n", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    let mut client = TcpStream::connect(proxy.data()).await.unwrap();
    let body = format!("{:x}\r\n{CHAT}\r\n0\r\nx-sum: 7\r\nauthorization: Bearer sly\r\n\r\n", CHAT.len());
    let head = format!("{CHUNKED}te: trailers\r\nconnection: te\r\n\r\n");
    client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let asked = replica.asked().await;
    assert_eq!((asked.header("te"), &asked.body[..]), (Some("trailers"), CHAT.as_bytes()));
    let heard = asked.trailers.clone().expect("they were passed on");
    assert_eq!((heard.len(), &heard["x-sum"]), (1, &http::HeaderValue::from_static("7")));
    let head = Response::builder().header("content-type", "application/json").header("trailer", "x-took");
    let frames = asked.begin(head);
    frames.send("{}");
    frames.end_with("x-took", "9");
    let answer = read_some(&mut client, "0\r\nx-took: 9\r\n\r\n").await;
    assert!(answer.contains("trailer: x-took\r\n"), "{answer}");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    trailers(Speaks::default(), "auto").await;
    trailers(Speaks { http2: true, ..Speaks::default() }, "always").await;
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_answered_and_counted_and_a_silent_client_is_not() {
    let proxy = Proxy::start("limits.header_ms_max = 100\n").await;
    for begun in ["P", "POST", "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-a"] {
        let mut client = TcpStream::connect(proxy.data()).await.unwrap();
        client.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let said = "the request's head did not come within 100 ms (limits.header_ms_max)";
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n") && answer.contains(said), "{begun}: {answer}");
    }
    let mut silent = TcpStream::connect(proxy.data()).await.unwrap();
    let mut answer = String::new();
    silent.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "");
    assert_eq!(proxy.metric("headworks_proxy_slow_heads_total{port=\"data\"}").await, 3.0);
}
