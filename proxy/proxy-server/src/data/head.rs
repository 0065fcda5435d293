//! Refuses heads that two servers could read in two ways, where the HTTP library lets them pass.

use http::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, Uri, Version};

use crate::exchange::Refusal;

/// Whether everybody on the way reads the head in the same way (RFC 9112, 3.2 and 6.1).
pub(super) fn check_head(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let wrong = |message| Err(Refusal::BadHead { message });
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return wrong("the request has more than one `Host`; send one"),
        (Some(host), None) if !is_host(host) => {
            return wrong("the request's `Host` is no host; send host or host:port");
        }
        (host, _) => host,
    };
    match (host, uri.authority()) {
        (None, None) if version == Version::HTTP_11 => return wrong("the request has no `Host`; send one"),
        (Some(host), Some(authority)) if !is_same(host, authority) => {
            return wrong("the request's `Host` is not the host of its target; send the same in both");
        }
        _ => {}
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return wrong("the request's target has a user; leave it out");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_plain = |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if is_plain(coding) => Ok(()),
        _ => wrong("the request's `Transfer-Encoding` is not `chunked` alone; send no other"),
    }
}

/// An empty one is sound: it is what a target without an authority has (RFC 9112, 3.2).
fn is_host(host: &HeaderValue) -> bool {
    let host = host.as_bytes();
    host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
}

fn is_same(host: &HeaderValue, authority: &Authority) -> bool {
    host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, lines: &[(&'static str, &str)], refused: &str) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a test's value is sound"));
        }
        let uri = target.parse().expect("a test's target is sound");
        let said = match check_head(Version::HTTP_11, &uri, &headers) {
            Ok(()) => "",
            Err(Refusal::BadHead { message }) => message,
            Err(other) => panic!("{other:?}"),
        };
        assert!(said.contains(refused) && said.is_empty() == refused.is_empty(), "{target} {lines:?}: {said:?}");
    }

    #[test]
    fn a_head_is_read_in_one_way_only() {
        check("/v1/x", &[("host", "a")], "");
        check("/v1/x", &[("host", "a:8080")], "");
        check("/v1/x", &[("host", "[::1]:8080")], "");
        check("/v1/x", &[("host", "")], "");
        check("/v1/x", &[], "no `Host`");
        check("/v1/x", &[("host", "a"), ("host", "a")], "more than one `Host`");
        check("/v1/x", &[("host", "a/b")], "is no host");
        check("/v1/x", &[("host", "a, b")], "is no host");
        check("/v1/x", &[("host", "user@a")], "is no host");
        check("http://a/v1/x", &[("host", "A")], "");
        check("http://a/v1/x", &[], "");
        check("http://a/v1/x", &[("host", "b")], "not the host of its target");
        check("http://a/v1/x", &[("host", "a:81")], "not the host of its target");
        check("http://u@a/v1/x", &[], "has a user");
        check("/v1/x", &[("host", "a"), ("transfer-encoding", "Chunked")], "");
        check("/v1/x", &[("host", "a"), ("transfer-encoding", "gzip, chunked")], "`chunked` alone");
        check(
            "/v1/x",
            &[("host", "a"), ("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")],
            "`chunked` alone",
        );
    }
}
