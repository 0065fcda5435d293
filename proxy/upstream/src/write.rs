//! Writes a request's head as it goes over the wire.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{Method, request};

use crate::outgoing::Outgoing;

/// Appends the head of a request whose body is `body`, and the size of its one chunk where it goes in chunks. What is
/// said of the body's length among the headers is not believed.
pub(crate) fn write_head(into: &mut Vec<u8>, head: &request::Parts, body: &Outgoing) {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    into.extend_from_slice(head.method.as_str().as_bytes());
    into.push(b' ');
    into.extend_from_slice(path.as_bytes());
    into.extend_from_slice(b" HTTP/1.1\r\n");
    if !head.headers.contains_key(HOST) {
        let host = head.uri.authority().map_or("", |authority| authority.as_str());
        line(into, b"host", host.as_bytes());
    }
    for (name, value) in &head.headers {
        if *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING {
            line(into, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if body.trailers.is_some() {
        into.extend_from_slice(b"transfer-encoding: chunked\r\n");
    } else if !body.data.is_empty() || expects_body(&head.method) {
        into.extend_from_slice(b"content-length: ");
        decimal(into, body.data.len());
        into.extend_from_slice(b"\r\n");
    }
    into.extend_from_slice(b"\r\n");
    if body.trailers.is_some() && !body.data.is_empty() {
        into.extend_from_slice(format!("{:x}\r\n", body.data.len()).as_bytes());
    }
}

/// What follows the body: nothing after one of told length, else the end of its chunk, the last chunk and the trailers.
pub(crate) fn write_tail(body: &Outgoing) -> Bytes {
    let Some(trailers) = &body.trailers else { return Bytes::new() };
    let mut into = Vec::new();
    if !body.data.is_empty() {
        into.extend_from_slice(b"\r\n");
    }
    into.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.iter() {
        line(&mut into, name.as_str().as_bytes(), value.as_bytes());
    }
    into.extend_from_slice(b"\r\n");
    into.into()
}

fn line(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    into.extend_from_slice(name);
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}

/// Of these methods servers want to be told that there is no body (RFC 9110, section 8.6).
fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn decimal(into: &mut Vec<u8>, mut number: usize) {
    let begin = into.len();
    loop {
        into.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    into[begin..].reverse();
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Request};

    use super::*;

    #[track_caller]
    fn check(request: Request<&'static str>, trailers: Option<HeaderMap>, expected: &str) {
        let (head, data) = request.into_parts();
        let body = Outgoing { data: Bytes::from_static(data.as_bytes()), trailers: trailers.map(Box::new) };
        let mut written = Vec::new();
        write_head(&mut written, &head, &body);
        written.extend_from_slice(&body.data);
        written.extend_from_slice(&write_tail(&body));
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn a_body_is_told_by_its_own_length() {
        let request = Request::post("http://h:1/v1/x?a=b").header("content-length", "3").header("x-a", "1");
        let head = "POST /v1/x?a=b HTTP/1.1\r\nhost: h:1\r\nx-a: 1\r\ncontent-length: 12\r\n\r\ntwelve bytes";
        check(request.body("twelve bytes").unwrap(), None, head);
    }

    #[test]
    fn no_body_is_told_where_one_is_expected() {
        check(Request::get("http://h").body("").unwrap(), None, "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        let head = "POST / HTTP/1.1\r\nhost: me\r\ncontent-length: 0\r\n\r\n";
        check(Request::post("http://h/").header("host", "me").body("").unwrap(), None, head);
    }

    #[test]
    fn what_has_trailers_goes_in_chunks() {
        let trailers = || Some(HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]));
        let chunks = "PUT / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
        let request = |body| Request::put("http://h/").header("transfer-encoding", "gzip").body(body).unwrap();
        check(request("twelve bytes"), trailers(), &format!("{chunks}c\r\ntwelve bytes\r\n0\r\nx-sum: 7\r\n\r\n"));
        check(request(""), trailers(), &format!("{chunks}0\r\nx-sum: 7\r\n\r\n"));
    }

    #[test]
    fn headers_go_in_their_order() {
        let request = Request::get("http://h/").header("b", "1").header("a", "2").header("c", "3").header("b", "4");
        check(request.body("").unwrap(), None, "GET / HTTP/1.1\r\nhost: h\r\nb: 1\r\nb: 4\r\na: 2\r\nc: 3\r\n\r\n");
    }
}
