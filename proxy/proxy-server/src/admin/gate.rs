//! Lets in who has an admin token whose role suffices, where any is configured; and no page of another site to change anything.

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
use crate::config::{AdminToken, Role};
use crate::proxy::Proxy;

/// Who changes policies, in their history.
const USER: &str = "x-headworks-user";

pub(super) async fn gate(State(proxy): State<Arc<Proxy>>, mut request: Request, next: Next) -> Response {
    if changes(&request) && is_of_another_site(&request) {
        return foreign();
    }
    if proxy.admin_tokens.is_empty() {
        return next.run(request).await;
    }
    match token_of(bearer(request.headers()), &proxy.admin_tokens) {
        None => refused(),
        Some(token) if token.role == Role::Read && changes(&request) => only_read(),
        Some(token) => {
            if let (false, Ok(user)) = (request.headers().contains_key(USER), HeaderValue::try_from(&token.name)) {
                request.headers_mut().insert(USER, user);
            }
            next.run(request).await
        }
    }
}

/// The same for replicas that register themselves: their token opens that and nothing else.
pub(super) async fn gate_of_joining(State(proxy): State<Arc<Proxy>>, request: Request, next: Next) -> Response {
    let wanted = proxy.register_token.as_ref();
    let given = bearer(request.headers());
    let may =
        wanted.zip(given).is_some_and(|(wanted, given)| equal(&Sha256::digest(given), &Sha256::digest(&wanted.0)));
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

/// The token that was given. All are looked at, whichever it is.
fn token_of<'a>(given: Option<&str>, tokens: &'a [AdminToken]) -> Option<&'a AdminToken> {
    let given = Sha256::digest(given?);
    tokens.iter().fold(None, |found, token| match equal(&given, &token.sha256) {
        true => found.or(Some(token)),
        false => found,
    })
}

/// Compares in a time that does not depend on where two digests differ.
fn equal(given: &[u8], wanted: &[u8]) -> bool {
    let difference = given.iter().zip(wanted).fold(0, |difference, (one, other)| difference | (one ^ other));
    std::hint::black_box(difference) == 0
}

fn foreign() -> Response {
    let message =
        "a page of another site may not change anything here; use the dashboard, or a client that is no browser";
    error(StatusCode::FORBIDDEN, ErrorBody::invalid_request(message).code("cross_site"))
}

fn only_read() -> Response {
    let message = "this admin token may read only; what changes something wants one with the role `operate`";
    error(StatusCode::FORBIDDEN, ErrorBody::of("permission_error", message).code("role_insufficient"))
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
    fn a_token_has_its_role_and_another_none() {
        let token =
            |token: &str, role| AdminToken { name: token.to_owned(), sha256: Sha256::digest(token).into(), role };
        let tokens = [token("secret", Role::Operate), token("watch", Role::Read)];
        let role = |given| token_of(given, &tokens).map(|token| token.role);
        assert_eq!(role(Some("secret")), Some(Role::Operate));
        assert_eq!(role(Some("watch")), Some(Role::Read));
        assert_eq!(role(Some("secret2")), None);
        assert_eq!(role(Some("")), None);
        assert_eq!(role(None), None);
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
