//! Lists, replaces, rolls back and removes policies.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use openai_api::ErrorBody;
use policy_runtime::LoadError;

use crate::admin::docs::{PoliciesDoc, SlotDoc};
use crate::admin::{error, sources};
use crate::policies::{Fetched, SwapError};
use crate::proxy::Proxy;
use crate::tasks;

/// Carries an upload's signature, `NAME:BASE64`.
const SIGNATURE: &str = "x-headworks-signature";

/// The slot that a path names. Whether it may have that name is the chain's to say.
pub(super) struct SlotName(pub String);

impl FromRequestParts<Arc<Proxy>> for SlotName {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, proxy: &Arc<Proxy>) -> Result<SlotName, Response> {
        match Path::from_request_parts(parts, proxy).await {
            Ok(Path(slot)) => Ok(SlotName(slot)),
            Err(wrong) => {
                let body = ErrorBody::invalid_request(wrong.body_text()).code("bad_slot_name");
                Err(error(StatusCode::BAD_REQUEST, body))
            }
        }
    }
}

pub(super) async fn list(State(proxy): State<Arc<Proxy>>) -> Json<PoliciesDoc> {
    Json(PoliciesDoc::of(&proxy))
}

pub(super) async fn put(
    State(proxy): State<Arc<Proxy>>,
    SlotName(slot): SlotName,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let bytes = match read(body, proxy.policies.component_bytes_max(), proxy.limits.body_ms_max).await {
        Ok(bytes) => bytes,
        Err(refusal) => return refusal,
    };
    let signature = headers.get(SIGNATURE).map(|value| value.to_str().unwrap_or_default());
    match proxy.sources.take(bytes, signature) {
        Ok(fetched) => swap(proxy, slot, fetched).await,
        Err(refused) => sources::refusal(&slot, &refused),
    }
}

/// Makes a component a slot's active version.
pub(super) async fn swap(proxy: Arc<Proxy>, slot: String, fetched: Fetched) -> Response {
    let turn = proxy.policies.turn().await;
    // From here the upload is carried out or refused whole, whether or not its client stays to hear of it.
    let swap = tasks::to_the_end(async move {
        let swapped = proxy.policies.put(turn, &slot, fetched).await;
        let result = if swapped.is_ok() { "activated" } else { "refused" };
        // Names of slots that never came to be are not counted: there is no end to them.
        if proxy.policies.list().iter().any(|known| known.name == slot) {
            proxy.metrics.policy_swaps.with_label_values(&[slot.as_str(), result]).inc();
        }
        answer(&slot, swapped)
    });
    swap.await.unwrap_or_else(|broke| error(StatusCode::INTERNAL_SERVER_ERROR, ErrorBody::server(broke.to_string())))
}

pub(super) async fn roll_back(State(proxy): State<Arc<Proxy>>, SlotName(slot): SlotName) -> Response {
    let turn = proxy.policies.turn().await;
    let swapped = proxy.policies.roll_back(turn, &slot);
    if swapped.is_ok() {
        proxy.metrics.policy_swaps.with_label_values(&[slot.as_str(), "rolled_back"]).inc();
    }
    answer(&slot, swapped)
}

pub(super) async fn remove(State(proxy): State<Arc<Proxy>>, SlotName(slot): SlotName) -> Response {
    let turn = proxy.policies.turn().await;
    match proxy.policies.remove(turn, &slot) {
        Ok(()) => {
            tracing::info!(slot, "slot removed");
            proxy.metrics.forget_slot(&slot);
            Json(PoliciesDoc::of(&proxy)).into_response()
        }
        Err(refused) => refusal(&slot, &refused),
    }
}

async fn read(body: Body, bytes_max: usize, ms_max: u64) -> Result<Bytes, Response> {
    let whole = tokio::time::timeout(Duration::from_millis(ms_max), Limited::new(body, bytes_max).collect());
    let Ok(whole) = whole.await else {
        let message = format!("the component did not arrive within {ms_max} ms (`limits.body_ms_max`)");
        let mut slow =
            error(StatusCode::REQUEST_TIMEOUT, ErrorBody::invalid_request(message).code("component_too_slow"));
        // The rest of it may come yet; nobody reads it.
        slow.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Err(slow);
    };
    match whole {
        Ok(body) => Ok(body.to_bytes()),
        Err(cause) if cause.is::<LengthLimitError>() => {
            let message = format!("the component is larger than {bytes_max} bytes (`limits.component_bytes_max`)");
            Err(error(StatusCode::PAYLOAD_TOO_LARGE, ErrorBody::invalid_request(message).code("component_too_large")))
        }
        Err(cause) => {
            let message = format!("the component did not arrive whole: {cause}");
            Err(error(StatusCode::BAD_REQUEST, ErrorBody::invalid_request(message)))
        }
    }
}

fn answer(slot: &str, swapped: Result<crate::policies::Slot, SwapError>) -> Response {
    match swapped {
        Ok(changed) => {
            let version = changed.active;
            tracing::info!(slot, version, "policy activated");
            Json(SlotDoc::of(&changed)).into_response()
        }
        Err(refused) => refusal(slot, &refused),
    }
}

fn refusal(slot: &str, refused: &SwapError) -> Response {
    tracing::warn!(slot, error = %refused, "policy not changed");
    let (status, code) = meaning(refused);
    error(status, ErrorBody::invalid_request(refused.to_string()).code(code))
}

fn meaning(refused: &SwapError) -> (StatusCode, &'static str) {
    match refused {
        SwapError::Refused(LoadError::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, "component_too_large"),
        SwapError::Refused(LoadError::Internal { .. }) | SwapError::Broke(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "runtime_failed")
        }
        SwapError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "component_refused"),
        SwapError::BadName(_) => (StatusCode::BAD_REQUEST, "bad_slot_name"),
        SwapError::TooManySlots { .. } => (StatusCode::CONFLICT, "too_many_slots"),
        SwapError::UnknownSlot(_) => (StatusCode::NOT_FOUND, "unknown_slot"),
        SwapError::Configured(_) => (StatusCode::CONFLICT, "slot_is_configured"),
        SwapError::NothingBefore(_) => (StatusCode::CONFLICT, "nothing_to_roll_back_to"),
    }
}
