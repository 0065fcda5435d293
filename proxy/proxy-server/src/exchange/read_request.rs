//! Reads a request whole, within bounds: the bytes are kept as they came, and only the needed fields are read.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dispatch::Repeat;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::base_url::PATH_BYTES_MAX;
use crate::config::Limits;
use crate::exchange::Refusal;
use crate::exchange::hops::{count_of_clients, onward_trailers};
use crate::wire::{RequestFields, read_request_fields};

pub(crate) use crate::wire::Endpoint;

/// A client that has begun to send too much rarely reads an answer before it has sent all, so we take in this many
/// times the bound before we answer and close.
const DRAIN_TIMES: usize = 8;

/// A request as it came, and the fields the proxy goes by.
pub(crate) struct ReadRequest {
    pub method: Method,
    pub path: PathAndQuery,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What followed the body.
    pub trailers: Option<Box<HeaderMap>>,
    /// The protocol that the client would switch to.
    pub upgrade: Option<HeaderValue>,
    pub endpoint: Endpoint,
    pub fields: RequestFields,
    pub repeat: Repeat,
}

pub(crate) async fn read_request(
    request: Request<Incoming>,
    upgrade: Option<HeaderValue>,
    limits: &Limits,
) -> Result<ReadRequest, Refusal> {
    let (head, body) = request.into_parts();
    check_path(&head.uri)?;
    if count_of_clients(&head.headers) > limits.headers_max {
        return Err(Refusal::TooManyHeaders { headers_max: limits.headers_max });
    }
    let endpoint = Endpoint::of(head.uri.path());
    if endpoint != Endpoint::Other && head.method != Method::POST {
        return Err(Refusal::WrongMethod { path: head.uri.path().to_owned() });
    }
    let limit = Duration::from_millis(limits.body_ms_max);
    let (body, trailers) =
        match tokio::time::timeout(limit, read_body(&head.headers, body, limits.body_bytes_max)).await {
            Ok(body) => body?,
            Err(_) => return Err(Refusal::BodyTooSlow { body_ms_max: limits.body_ms_max }),
        };
    let fields = match (endpoint, read_request_fields(&body, endpoint)) {
        (_, Ok(fields)) => fields,
        // What the body of an unknown endpoint means is the replica's to say.
        (Endpoint::Other, Err(_)) => RequestFields::default(),
        (_, Err(bad)) => return Err(Refusal::BadBody(bad)),
    };
    // A replica may store responses, and then a second one is one too many.
    let harmless = !matches!(endpoint, Endpoint::Other | Endpoint::Responses) || head.method.is_safe();
    // What comes after a switch may do anything, and another protocol's first bytes are not a request's body.
    let upgrade = upgrade.filter(|_| endpoint == Endpoint::Other && body.is_empty());
    let harmless = harmless && upgrade.is_none();
    Ok(ReadRequest {
        repeat: if harmless { Repeat::Harmless } else { Repeat::OnlyUnseen },
        path: head.uri.into_parts().path_and_query.unwrap_or(PathAndQuery::from_static("/")),
        method: head.method,
        headers: head.headers,
        body,
        trailers,
        upgrade,
        endpoint,
        fields,
    })
}

/// Refuses paths that could not be sent on, or that a replica could take for another than we do.
fn check_path(uri: &Uri) -> Result<(), Refusal> {
    if uri.path_and_query().is_some_and(|path| path.as_str().len() > PATH_BYTES_MAX) {
        return Err(Refusal::PathTooLong);
    }
    match has_dot_segments(uri.path()) {
        true => Err(Refusal::DotSegments),
        false => Ok(()),
    }
}

/// Whether a segment is `.` or `..`, however dots and slashes are written.
fn has_dot_segments(path: &str) -> bool {
    if !path.contains(['.', '%']) {
        return false;
    }
    let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    path.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

/// All of a body, and its trailers.
async fn read_body(
    headers: &HeaderMap,
    mut body: Incoming,
    bytes_max: usize,
) -> Result<(Bytes, Option<Box<HeaderMap>>), Refusal> {
    let too_large = || Refusal::BodyTooLarge { body_bytes_max: bytes_max };
    if body.size_hint().lower() > bytes_max as u64 {
        // A client that waits for `100 Continue` has sent nothing yet, and need not.
        if !headers.contains_key(EXPECT) {
            drain(&mut body, bytes_max.saturating_mul(DRAIN_TIMES)).await;
        }
        return Err(too_large());
    }
    let expected = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::ClientBroke(error.to_string()))?;
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().ok().and_then(onward_trailers);
                continue;
            }
        };
        if first.len() + all.len() + data.len() > bytes_max {
            drain(&mut body, bytes_max.saturating_mul(DRAIN_TIMES)).await;
            return Err(too_large());
        }
        // Most bodies come in one frame, and that frame is the body.
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(bytes_max.min(expected).max(first.len() + data.len()));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok((if all.is_empty() { first } else { all.freeze() }, trailers))
}

async fn drain(body: &mut Incoming, bytes_max: usize) {
    let mut drained = 0;
    while drained < bytes_max {
        match body.frame().await {
            Some(Ok(frame)) => drained += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: bool) {
        assert_eq!(has_dot_segments(path), expected, "{path}");
    }

    #[test]
    fn dot_segments_are_seen_however_they_are_written() {
        check("/v1/../x", true);
        check("/v1/./x", true);
        check("/v1/x/..", true);
        check("/v1/%2e%2E/x", true);
        check("/v1/.%2e/x", true);
        check("/v1/x%2f..%2Fy", true);
        check("/v1/..%5cx", true);
    }

    #[test]
    fn dots_within_a_name_are_none() {
        check("/v1/models/qwen2.5-0.5b", false);
        check("/v1/files/a..b/.hidden/...", false);
        check("/v1/models/org%2Fname", false);
    }
}
