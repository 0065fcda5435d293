//! Which headers end at this hop, and which this proxy adds.

use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

/// How many proxies of the mesh a request has passed.
pub(crate) const HOP: &str = "x-headworks-hop";
/// What ties the turns of one conversation together.
pub(crate) const SESSION: &str = "x-session-id";
/// Names a request in everybody's logs.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

const OWN_LEN: usize = 5;

/// What this proxy adds, or writes anew where a client has it; its clients' bound leaves these out, so that a request
/// with as many headers as may be also passes the same bound of another region's proxy.
const OWN: [HeaderName; OWN_LEN] = [
    REQUEST_ID,
    HeaderName::from_static(HOP),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static(openai_api::PRODUCED_HEADER),
];

/// Most headers that this proxy adds to a request: its own, and `host` and `content-length` where there were none.
pub(crate) const ADDED_MAX: usize = OWN_LEN + 2;

/// Headers of a request, but for those that proxies write themselves.
pub(crate) fn count_of_clients(headers: &HeaderMap) -> usize {
    let own: usize = OWN.iter().map(|name| headers.get_all(name).iter().count()).sum();
    headers.len() - own
}

/// RFC 9110, section 7.6.1: these are about one connection, not about the message.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The client's headers as the replica gets them.
pub(crate) fn onward(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    strip(&mut headers);
    // These are said anew for the next connection: whom it is to, and how long the body is.
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    headers
}

/// Takes out what is about one connection only.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &[(&str, &str)], expected: &[&str]) {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let mut left: Vec<String> = onward(&headers).keys().map(ToString::to_string).collect();
        left.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn what_is_about_the_message_goes_on() {
        check(
            &[("authorization", "Bearer x"), ("x-custom", "1"), ("accept-encoding", "gzip")],
            &["accept-encoding", "authorization", "x-custom"],
        );
    }

    #[test]
    fn what_is_about_the_connection_ends_here() {
        check(&[("te", "trailers"), ("keep-alive", "5"), ("upgrade", "x"), ("transfer-encoding", "chunked")], &[]);
        check(&[("host", "a"), ("content-length", "3"), ("expect", "100-continue")], &[]);
    }

    #[test]
    fn what_connection_names_ends_here_too() {
        check(
            &[
                ("connection", "close, X-Once"),
                ("connection", "x-twice"),
                ("x-once", "1"),
                ("x-twice", "2"),
                ("x", "3"),
            ],
            &["x"],
        );
    }
}
