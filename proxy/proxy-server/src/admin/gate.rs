//! Lets in who has the admin token, where one is configured.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use openai_api::ErrorBody;
use sha2::{Digest, Sha256};

use crate::admin::error;
use crate::proxy::Proxy;

pub(super) async fn gate(State(proxy): State<Arc<Proxy>>, request: Request, next: Next) -> Response {
    let may = match &proxy.admin_token {
        None => true,
        Some(token) => bearer(request.headers()).is_some_and(|given| equal(given, &token.0)),
    };
    match may {
        true => next.run(request).await,
        false => refused(),
    }
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
}
