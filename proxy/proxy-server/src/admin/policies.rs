//! Lists, replaces, tries, configures, rolls back and removes policies.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use openai_api::ErrorBody;
use policy_runtime::LoadError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::admin::docs::{PoliciesDoc, SlotDoc};
use crate::admin::{Asked, error, sources};
use crate::policies::{Fetched, Policies, Share, Slot, SwapError, Turn, Upload};
use crate::proxy::Proxy;

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
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let share = match share(&asked) {
        Ok(share) => share,
        Err(wrong) => return wrong,
    };
    let bytes = match read(body, proxy.policies.bounds.component_bytes_max, proxy.limits.body_ms_max).await {
        Ok(bytes) => bytes,
        Err(refusal) => return refusal,
    };
    let signature = headers.get(SIGNATURE).map(|value| value.to_str().unwrap_or_default());
    let fetched = proxy.sources.take(bytes, signature).map_err(SwapError::from);
    swap(&proxy, slot, fetched, share, user(&headers)).await
}

/// Puts a component in a slot; one that could not be had is written down as refused.
pub(super) async fn swap(
    proxy: &Proxy,
    slot: String,
    fetched: Result<Fetched, SwapError>,
    share: Share,
    by: String,
) -> Response {
    match fetched {
        Ok(fetched) => {
            let upload = Upload { slot: slot.clone(), fetched, share, by };
            change(proxy, &slot, move |policies, turn| policies.put(turn, upload)).await
        }
        Err(refused) => {
            proxy.policies.refused(&slot, &by, None, &refused);
            refusal(&slot, &refused)
        }
    }
}

/// What of a slot is configured.
#[derive(Serialize)]
struct ConfigDoc {
    config: Arc<RawValue>,
    schema: Option<Arc<RawValue>>,
}

pub(super) async fn config(State(proxy): State<Arc<Proxy>>, SlotName(name): SlotName) -> Response {
    let Some(slot) = proxy.policies.slot(&name) else { return refusal(&name, &SwapError::UnknownSlot(name.clone())) };
    match slot.active_version() {
        Some(active) => {
            Json(ConfigDoc { config: active.config.clone(), schema: active.config_schema.clone() }).into_response()
        }
        None => refusal(&name, &SwapError::NothingToConfigure(name.clone())),
    }
}

pub(super) async fn configure(
    State(proxy): State<Arc<Proxy>>,
    SlotName(slot): SlotName,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let share = match share(&asked) {
        Ok(share) => share,
        Err(wrong) => return wrong,
    };
    let json = match read_json(&proxy, body).await {
        Ok(json) => json,
        Err(refusal) => return refusal,
    };
    let (name, by) = (slot.clone(), user(&headers));
    change(&proxy, &slot, move |policies, turn| policies.configure(turn, &name, &json, share, &by)).await
}

/// Which version is meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionAsked {
    version: u32,
}

pub(super) async fn activate(
    State(proxy): State<Arc<Proxy>>,
    SlotName(slot): SlotName,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let json = match read_json(&proxy, body).await {
        Ok(json) => json,
        Err(refusal) => return refusal,
    };
    let version = match serde_json::from_str(&json) {
        Ok(VersionAsked { version }) => version,
        Err(wrong) => {
            let message = format!("the body must be {{\"version\": NUMBER}}: {wrong}");
            return error(StatusCode::BAD_REQUEST, ErrorBody::invalid_request(message).param("version"));
        }
    };
    let (name, by) = (slot.clone(), user(&headers));
    change(&proxy, &slot, move |policies, turn| policies.activate(turn, &name, version, &by)).await
}

pub(super) async fn promote(State(proxy): State<Arc<Proxy>>, SlotName(slot): SlotName, headers: HeaderMap) -> Response {
    let (name, by) = (slot.clone(), user(&headers));
    change(&proxy, &slot, move |policies, turn| policies.promote(turn, &name, &by)).await
}

pub(super) async fn roll_back(
    State(proxy): State<Arc<Proxy>>,
    SlotName(slot): SlotName,
    headers: HeaderMap,
) -> Response {
    let (name, by) = (slot.clone(), user(&headers));
    change(&proxy, &slot, move |policies, turn| policies.roll_back(turn, &name, &by)).await
}

pub(super) async fn component(
    State(proxy): State<Arc<Proxy>>,
    path: Result<Path<(String, u32)>, PathRejection>,
) -> Response {
    let (name, number) = match path {
        Ok(Path(path)) => path,
        Err(wrong) => {
            return error(StatusCode::BAD_REQUEST, ErrorBody::invalid_request(wrong.body_text()).code("bad_slot_name"));
        }
    };
    let Some(slot) = proxy.policies.slot(&name) else { return refusal(&name, &SwapError::UnknownSlot(name.clone())) };
    match slot.version(number) {
        Some(version) => ([(CONTENT_TYPE, "application/wasm")], version.bytes.clone()).into_response(),
        None => refusal(&name, &SwapError::UnknownVersion { slot: name.clone(), number }),
    }
}

pub(super) async fn remove(State(proxy): State<Arc<Proxy>>, SlotName(slot): SlotName) -> Response {
    let turn = proxy.policies.turn().await;
    match proxy.policies.remove(&turn, &slot) {
        Ok(()) => {
            tracing::info!(slot, "slot removed");
            proxy.metrics.forget_slot(&slot);
            Json(PoliciesDoc::of(&proxy)).into_response()
        }
        Err(refused) => refusal(&slot, &refused),
    }
}

/// Changes a slot in its turn; the answer is the slot as it is then. From the turn on the change is carried out or
/// refused whole, whether or not its client stays to hear of it.
async fn change(
    proxy: &Proxy,
    slot: &str,
    change: impl FnOnce(&Policies, &Turn) -> Result<Slot, SwapError> + Send + 'static,
) -> Response {
    let turn = proxy.policies.turn().await;
    let changed = proxy.policies.clone().change_blocking(move |policies| change(policies, &turn)).await;
    match changed.and_then(|changed| changed) {
        Ok(changed) => Json(SlotDoc::of(&changed)).into_response(),
        Err(refused) => refusal(slot, &refused),
    }
}

/// Bytes of a user's name.
const USER_BYTES_MAX: usize = 64;

/// Who asks for a change, as the client says: the history names them. It is no proof.
pub(super) fn user(headers: &HeaderMap) -> String {
    let name = headers.get("x-headworks-user").and_then(|value| value.to_str().ok()).map(str::trim).unwrap_or_default();
    match name {
        "" => "admin".to_owned(),
        name => name[..name.floor_char_boundary(USER_BYTES_MAX)].to_owned(),
    }
}

/// How many requests the new version is for.
pub(super) fn share(Query(asked): &Asked) -> Result<Share, Response> {
    let Some(given) = asked.get("canary") else { return Ok(Share::All) };
    match given.parse() {
        Ok(percent @ 1..=99) => Ok(Share::Percent(percent)),
        _ => {
            let message = format!("`canary` is {given:?}; it must be the share of requests in percent, 1 to 99");
            Err(error(StatusCode::BAD_REQUEST, ErrorBody::invalid_request(message).param("canary")))
        }
    }
}

/// Bytes of a JSON body.
const JSON_BYTES_MAX: usize = 256 << 10;

async fn read_json(proxy: &Proxy, body: Body) -> Result<String, Response> {
    let bytes = read(body, JSON_BYTES_MAX, proxy.limits.body_ms_max).await?;
    String::from_utf8(bytes.to_vec()).map_err(|_| {
        error(StatusCode::BAD_REQUEST, ErrorBody::invalid_request("the body is no text; send a JSON object"))
    })
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
            let bound = if bytes_max == JSON_BYTES_MAX { "" } else { " (`limits.component_bytes_max`)" };
            let message = format!("the body is larger than {bytes_max} bytes{bound}");
            Err(error(StatusCode::PAYLOAD_TOO_LARGE, ErrorBody::invalid_request(message).code("component_too_large")))
        }
        Err(cause) => {
            let message = format!("the body did not arrive whole: {cause}");
            Err(error(StatusCode::BAD_REQUEST, ErrorBody::invalid_request(message)))
        }
    }
}

pub(super) fn refusal(slot: &str, refused: &SwapError) -> Response {
    tracing::warn!(slot, error = %refused, "policy not changed");
    if let SwapError::Source(refused) = refused {
        return sources::refusal(refused);
    }
    let (status, code) = meaning(refused);
    let body = ErrorBody::invalid_request(refused.to_string()).code(code);
    error(
        status,
        match refused {
            SwapError::Refused(LoadError::ConfigRefused { field, .. }) if !field.is_empty() => body.param(field),
            _ => body,
        },
    )
}

fn meaning(refused: &SwapError) -> (StatusCode, &'static str) {
    match refused {
        SwapError::Refused(LoadError::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, "component_too_large"),
        SwapError::Refused(LoadError::Internal { .. }) | SwapError::Broke(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "runtime_failed")
        }
        SwapError::Refused(LoadError::ConfigRefused { .. } | LoadError::BadConfig { .. }) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "config_refused")
        }
        SwapError::Refused(_) | SwapError::Source(_) => (StatusCode::UNPROCESSABLE_ENTITY, "component_refused"),
        SwapError::BadName(_) => (StatusCode::BAD_REQUEST, "bad_slot_name"),
        SwapError::TooManySlots { .. } => (StatusCode::CONFLICT, "too_many_slots"),
        SwapError::UnknownSlot(_) => (StatusCode::NOT_FOUND, "unknown_slot"),
        SwapError::UnknownVersion { .. } => (StatusCode::NOT_FOUND, "unknown_version"),
        SwapError::Quarantined { .. } => (StatusCode::CONFLICT, "version_quarantined"),
        SwapError::NothingBeside(_) => (StatusCode::CONFLICT, "nothing_to_stand_beside"),
        SwapError::NothingToConfigure(_) => (StatusCode::CONFLICT, "nothing_to_configure"),
        SwapError::NoCanary(_) => (StatusCode::CONFLICT, "no_canary"),
        SwapError::Configured(_) => (StatusCode::CONFLICT, "slot_is_configured"),
        SwapError::NothingBefore(_) => (StatusCode::CONFLICT, "nothing_to_roll_back_to"),
    }
}
