//! Writes a request's head as it goes over the wire.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{Method, request};

/// Appends the head of a request whose body is `body`. A `content-length` among the headers is not believed.
pub(crate) fn write_head(into: &mut Vec<u8>, head: &request::Parts, body: &Bytes) {
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
        if *name != CONTENT_LENGTH {
            line(into, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if !body.is_empty() || expects_body(&head.method) {
        into.extend_from_slice(b"content-length: ");
        decimal(into, body.len());
        into.extend_from_slice(b"\r\n");
    }
    into.extend_from_slice(b"\r\n");
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
    use super::*;
    use http::Request;

    #[track_caller]
    fn check(request: Request<&'static str>, expected: &str) {
        let (head, body) = request.into_parts();
        let mut written = Vec::new();
        write_head(&mut written, &head, &Bytes::from_static(body.as_bytes()));
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn a_body_is_told_by_its_own_length() {
        let request = Request::post("http://h:1/v1/x?a=b").header("content-length", "3").header("x-a", "1");
        let head = "POST /v1/x?a=b HTTP/1.1\r\nhost: h:1\r\nx-a: 1\r\ncontent-length: 12\r\n\r\n";
        check(request.body("twelve bytes").unwrap(), head);
    }

    #[test]
    fn no_body_is_told_where_one_is_expected() {
        check(Request::get("http://h").body("").unwrap(), "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        let head = "POST / HTTP/1.1\r\nhost: me\r\ncontent-length: 0\r\n\r\n";
        check(Request::post("http://h/").header("host", "me").body("").unwrap(), head);
    }
}
