//! Serves the dashboard's files out of the executable.

use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, StatusCode, Uri};
use openai_api::ErrorBody;

use crate::admin::error;

/// The page talks to nobody but this port. Charts set sizes by style attributes.
const CSP: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let found = match method {
        Method::GET | Method::HEAD => web_ui::file(uri.path()),
        _ => None,
    };
    let Some(file) = found else {
        let message = format!("there is nothing at {}", uri.path());
        return error(StatusCode::NOT_FOUND, ErrorBody::invalid_request(message).code("unknown_path"));
    };
    let tag = HeaderValue::from_str(&file.etag).expect("an entity tag is quoted hex");
    let known = headers.get(IF_NONE_MATCH).is_some_and(|tags| holds(tags, &file.etag));
    let mut answer = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.bytes.into_owned().into_response(),
    };
    let kept = if file.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    let said = answer.headers_mut();
    said.insert(ETAG, tag);
    said.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    said.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    said.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    said.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    said.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

fn holds(tags: &HeaderValue, tag: &str) -> bool {
    let tags = tags.to_str().unwrap_or_default();
    tags.split(',').map(str::trim).any(|given| given == "*" || given.trim_start_matches("W/") == tag)
}
