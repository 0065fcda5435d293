//! Which headers end at this hop, and which this proxy adds.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderName,
    HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, header};

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
static HOP_BY_HOP: [HeaderName; 8] =
    [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE];

/// These are said anew for the next connection: whom it is to, and how long the body is.
static SAID_ANEW: [HeaderName; 3] = [HOST, CONTENT_LENGTH, EXPECT];

/// What no trailer may say: who asks, where to, and how the body is to be read (RFC 9110, section 6.5.1).
static NEVER_TRAILERS: [HeaderName; 8] = [
    AUTHORIZATION,
    COOKIE,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::RANGE,
    header::TRAILER,
    REQUEST_ID,
];

/// The client's headers as the replica gets them, in their order, but for those that are kept from it.
pub(crate) fn onward(headers: &HeaderMap, kept_from_it: &[HeaderName]) -> HeaderMap {
    let named = named_by_connection(headers);
    let ends_here = |name: &HeaderName| {
        HOP_BY_HOP.contains(name) || SAID_ANEW.contains(name) || named.contains(name) || kept_from_it.contains(name)
    };
    let mut onward = HeaderMap::with_capacity(headers.len() + ADDED_MAX);
    for (name, value) in headers.iter().filter(|(name, _)| !ends_here(name)) {
        onward.append(name.clone(), value.clone());
    }
    // We pass trailers on, and so may say that they are welcome.
    if headers.contains_key(TE) && says(headers, &TE, "trailers") {
        onward.insert(CONNECTION, HeaderValue::from_static("te"));
        onward.insert(TE, HeaderValue::from_static("trailers"));
    }
    onward
}

/// Asks the replica to switch.
pub(crate) fn ask_to_switch(onward: &mut HeaderMap, protocol: HeaderValue) {
    onward.remove(TE);
    onward.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    onward.insert(UPGRADE, protocol);
}

/// A client's trailers as the replica gets them; `None` where none are left.
pub(crate) fn onward_trailers(trailers: HeaderMap) -> Option<Box<HeaderMap>> {
    let mut onward = onward(&trailers, &NEVER_TRAILERS);
    onward.remove(CONNECTION);
    onward.remove(TE);
    (!onward.is_empty()).then(|| Box::new(onward))
}

/// Takes out what is about one connection only.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in named_by_connection(headers).iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Whether `Connection` has this word.
pub(crate) fn connection_says(headers: &HeaderMap, word: &str) -> bool {
    says(headers, &CONNECTION, word)
}

fn says(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|said| said.trim().eq_ignore_ascii_case(word))
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
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
        let left: Vec<String> = onward(&headers, &[]).keys().map(ToString::to_string).collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn what_is_about_the_message_goes_on() {
        check(
            &[("authorization", "Bearer x"), ("x-custom", "1"), ("accept-encoding", "gzip")],
            &["authorization", "x-custom", "accept-encoding"],
        );
    }

    #[test]
    fn what_is_about_the_connection_ends_here() {
        check(&[("te", "gzip"), ("keep-alive", "5"), ("upgrade", "x"), ("transfer-encoding", "chunked")], &[]);
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

    #[test]
    fn that_trailers_are_welcome_is_said_anew() {
        check(&[("connection", "te"), ("te", "trailers, deflate;q=0.5"), ("x", "3")], &["x", "connection", "te"]);
    }

    #[test]
    fn what_is_kept_from_the_replica_leaves_the_others_in_their_order() {
        let all = ["z", "authorization", "b", "x-api-key", "a", "c"];
        let headers = all.map(|name| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("1")));
        let onward = onward(&HeaderMap::from_iter(headers), &[AUTHORIZATION, HeaderName::from_static("x-api-key")]);
        assert_eq!(onward.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["z", "b", "a", "c"]);
    }

    #[test]
    fn trailers_say_nothing_of_who_asks_and_how_the_body_is_read() {
        let trailers = |names: &[&'static str]| {
            let trailers = names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")));
            let onward = onward_trailers(trailers.collect());
            onward.map_or(vec![], |left| left.keys().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            trailers(&["x-sum", "authorization", "content-length", "host", "te", "server-timing"]),
            ["x-sum", "server-timing"]
        );
        assert!(trailers(&["transfer-encoding", "connection", "cookie"]).is_empty());
    }
}
