//! Tables of heads, good and bad.

use super::*;

fn read(text: &str, method: &Method) -> String {
    let mut read = BytesMut::from(text);
    match take_head(&mut read, Asked { method, to_switch: false }) {
        Ok(None) => "more".to_owned(),
        Ok(Some(head)) => {
            let kept = if head.keep { "kept" } else { "closed" };
            format!(
                "{} {:?} {kept}, {} headers, {} left",
                head.status.as_u16(),
                head.reader,
                head.headers.len(),
                read.len()
            )
        }
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(read(text, &Method::POST), expected);
}

#[track_caller]
fn bad(text: &str, expected: &str) {
    assert_eq!(read(text, &Method::POST), format!("the answer is not HTTP: {expected}"));
}

#[test]
fn a_head_says_how_its_body_ends() {
    check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "200 Length(3) kept, 1 headers, 3 left");
    check("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "200 Over kept, 1 headers, 0 left");
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", "200 Chunked(Size) kept, 1 headers, 0 left");
    check("HTTP/1.1 200 OK\r\n\r\nabc", "200 Close closed, 0 headers, 3 left");
    check("HTTP/1.1 204 No\r\n\r\n", "204 Over kept, 0 headers, 0 left");
    check("HTTP/1.1 304 No\r\ncontent-length: 7\r\n\r\n", "304 Over kept, 1 headers, 0 left");
}

#[test]
fn a_connection_is_kept_unless_it_says_otherwise() {
    check("HTTP/1.1 204 x\r\nconnection: a, Close\r\n\r\n", "204 Over closed, 1 headers, 0 left");
    check("HTTP/1.0 204 x\r\n\r\n", "204 Over closed, 0 headers, 0 left");
    check("HTTP/1.0 204 x\r\nconnection: keep-alive\r\n\r\n", "204 Over kept, 1 headers, 0 left");
}

#[test]
fn an_answer_to_head_has_no_body() {
    assert_eq!(read("HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\n", &Method::HEAD), "200 Over kept, 1 headers, 0 left");
}

#[test]
fn interim_answers_are_skipped() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    check(interim, "more");
    check(&format!("{interim}HTTP/1.1 204 x\r\n\r\n"), "204 Over kept, 0 headers, 0 left");
}

#[test]
fn heads_that_leave_doubt_are_refused() {
    let both = "HTTP/1.1 200 x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
    bad(both, "it has both a length and a transfer coding");
    bad("HTTP/1.1 200 x\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n", "it has two lengths");
    for length in ["+3", "3, 3", "-1", "0x3", "", "3 3", "99999999999999999999"] {
        bad(&format!("HTTP/1.1 200 x\r\ncontent-length: {length}\r\n\r\n"), "its length is not a number");
    }
    for coding in ["gzip, chunked", "identity", "chunked, chunked", "xchunked"] {
        let text = format!("HTTP/1.1 200 x\r\ntransfer-encoding: {coding}\r\n\r\n");
        bad(&text, "its transfer coding is not chunked alone");
    }
    bad("HTTP/1.0 200 x\r\ntransfer-encoding: chunked\r\n\r\n", "it has a transfer coding in HTTP/1.0");
    bad("HTTP/1.1 101 x\r\n\r\n", "it switches to a protocol nobody asked for");
}

#[test]
fn what_is_no_head_is_refused() {
    bad("HTTP/1.1 200 x\r\na: b\r\n c: folded\r\n\r\n", "its head cannot be read");
    bad("HTTP/1.1 200 x\r\na : b\r\n\r\n", "its head cannot be read");
    bad("HTTP/2.0 200 x\r\n\r\n", "its head cannot be read");
    bad("hello\r\n\r\n", "its head cannot be read");
    bad(&format!("HTTP/1.1 200 x\r\n{}", "a: b\r\n".repeat(HEADERS_MAX + 1)), "it has too many headers");
    bad(&format!("HTTP/1.1 200 x\r\na: {}", "b".repeat(HEAD_BYTES_MAX)), "its head is too long");
}
