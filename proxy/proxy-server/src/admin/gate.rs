//! Lets in who has the admin token, where one is configured; and no page of another site to change anything.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode};
use openai_api::ErrorBody;
use sha2::{Digest, Sha256};

use crate::admin::error;
use crate::proxy::Proxy;

pub(super) async fn gate(State(proxy): State<Arc<Proxy>>, request: Request, next: Next) -> Response {
    if changes(&request) && is_of_another_site(&request) {
        return foreign();
    }
    let may = match &proxy.admin_token {
        None => true,
        Some(token) => bearer(request.headers()).is_some_and(|given| equal(given, &token.0)),
    };
    match may {
        true => next.run(request).await,
        false => refused(),
    }
}

/// The same for replicas that register themselves: their token opens that and nothing else.
pub(super) async fn gate_of_joining(State(proxy): State<Arc<Proxy>>, request: Request, next: Next) -> Response {
    let wanted = proxy.register_token.as_ref();
    let given = bearer(request.headers());
    let may = wanted.zip(given).is_some_and(|(wanted, given)| equal(given, &wanted.0));
    match may && !is_of_another_site(&request) {
        true => next.run(request).await,
        false => gate(State(proxy), request, next).await,
    }
}

fn changes(request: &Request) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A browser that anybody's page runs in can reach a port on loopback, and says here where the page is from. Other
/// clients say nothing.
fn is_of_another_site(request: &Request) -> bool {
    let headers = request.headers();
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return true;
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.split_once("://").map_or("", |(_scheme, authority)| authority);
    let host = request.uri().authority().map(Authority::as_str);
    let host = host.or_else(|| headers.get(HOST)?.to_str().ok()).unwrap_or_default();
    authority.is_empty() || !authority.eq_ignore_ascii_case(host)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Compares in a time that does not depend on where two tokens differ: their digests differ everywhere.
fn equal(given: &str, wanted: &str) -> bool {
    let difference = Sha256::digest(given)
        .iter()
        .zip(Sha256::digest(wanted).iter())
        .fold(0, |difference, (one, other)| difference | (one ^ other));
    std::hint::black_box(difference) == 0
}

fn foreign() -> Response {
    let message =
        "a page of another site may not change anything here; use the dashboard, or a client that is no browser";
    error(StatusCode::FORBIDDEN, ErrorBody::invalid_request(message).code("cross_site"))
}

fn refused() -> Response {
    let body = ErrorBody::of("authentication_error", "this path wants `Authorization: Bearer` and the admin token")
        .code("invalid_admin_token");
    let mut answer = error(StatusCode::UNAUTHORIZED, body);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_is_equal() {
        assert!(equal("secret", "secret"));
        assert!(!equal("secret", "secret2"));
        assert!(!equal("", "secret"));
    }

    #[test]
    fn only_a_bearer_token_counts() {
        let check = |value: &'static str, expected| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
            assert_eq!(bearer(&headers), expected, "{value}");
        };
        check("Bearer x", Some("x"));
        check("bearer x", Some("x"));
        check("Basic x", None);
        check("x", None);
    }

    #[track_caller]
    fn check_site(headers: &[(&'static str, &'static str)], is_foreign: bool) {
        let request =
            headers.iter().fold(Request::builder().uri("/x").header("host", "127.0.0.1:8081"), |request, header| {
                request.header(header.0, header.1)
            });
        let request = request.body(axum::body::Body::empty()).unwrap();
        assert_eq!(is_of_another_site(&request), is_foreign, "{headers:?}");
    }

    #[test]
    fn only_pages_of_another_site_are_foreign() {
        check_site(&[], false);
        check_site(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8081")], false);
        check_site(&[("sec-fetch-site", "none")], false);
        check_site(&[("sec-fetch-site", "cross-site")], true);
        check_site(&[("origin", "http://127.0.0.1:3000")], true);
        check_site(&[("origin", "https://evil.example")], true);
        check_site(&[("origin", "null")], true);
    }
}
