//! Reads a request body within its bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;

use crate::refusal::Refusal;

/// A body's bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyBounds {
    pub bytes_max: usize,
    pub wait_max: Duration,
}

/// How much of a body that is too large is still read, in multiples of the bound: a client that is busy sending sees
/// our answer only if we take what it sends; past this it is cut off.
const DISCARD_FACTOR: usize = 4;

/// The whole body.
pub(crate) async fn read_body(headers: &HeaderMap, body: Body, bounds: BodyBounds) -> Result<Bytes, Refusal> {
    let waits_for_leave = headers.contains_key(header::EXPECT);
    if waits_for_leave && announced(headers).is_some_and(|bytes| bytes > bounds.bytes_max) {
        return Err(Refusal::body_too_large(bounds.bytes_max));
    }
    tokio::time::timeout(bounds.wait_max, collect(body, bounds.bytes_max))
        .await
        .unwrap_or_else(|_| Err(Refusal::body_too_slow(bounds.wait_max.as_secs())))
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(mut body: Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    let mut kept = BytesMut::new();
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::body_broken())?.into_data() else { continue };
        seen += data.len();
        if seen <= bytes_max {
            kept.extend_from_slice(&data);
        } else if seen > bytes_max.saturating_mul(DISCARD_FACTOR) {
            break;
        }
    }
    if seen > bytes_max { Err(Refusal::body_too_large(bytes_max)) } else { Ok(kept.freeze()) }
}
