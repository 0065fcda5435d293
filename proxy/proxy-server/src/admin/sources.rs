//! Pulls policies from registries, and says why a component was not had from where it should come.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use oci_artifact::{OciError, Reference};
use openai_api::ErrorBody;
use serde::Deserialize;

use crate::admin::policies::{SlotName, share, swap, user};
use crate::admin::{Asked, error};
use crate::policies::{Fetched, SourceError, SwapError};
use crate::proxy::Proxy;

/// What is pulled.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pull {
    reference: String,
}

pub(super) async fn pull(
    State(proxy): State<Arc<Proxy>>,
    SlotName(slot): SlotName,
    asked: Asked,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let share = match share(&asked) {
        Ok(share) => share,
        Err(wrong) => return wrong,
    };
    let reference = match serde_json::from_slice::<Pull>(&body) {
        Ok(Pull { reference }) => reference,
        Err(wrong) => {
            let message = format!("the body must be {{\"reference\":\"registry.example/team/policy:1.2\"}}: {wrong}");
            return error(StatusCode::BAD_REQUEST, ErrorBody::invalid_request(message));
        }
    };
    let fetched = match reference.parse::<Reference>() {
        Ok(reference) => pulled(&proxy, reference).await,
        Err(wrong) => Err(SourceError::from(wrong).into()),
    };
    swap(&proxy, slot, fetched, share, user(&headers)).await
}

async fn pulled(proxy: &Proxy, reference: Reference) -> Result<Fetched, SwapError> {
    let room = proxy.pulls.clone().acquire_owned().await.expect("the room for pulls is never closed");
    let sources = proxy.sources.clone();
    let pulled = tokio::task::spawn_blocking(move || {
        // Held until it is pulled, though its client leaves before.
        let _room = room;
        sources.pull(&reference)
    });
    Ok(pulled.await.map_err(|broke| SwapError::Broke(broke.to_string()))??)
}

/// Why there is no component to load.
pub(super) fn refusal(refused: &SourceError) -> Response {
    let (status, code, param) = meaning(refused);
    let body = ErrorBody::invalid_request(refused.to_string()).code(code);
    error(status, param.into_iter().fold(body, ErrorBody::param))
}

fn meaning(refused: &SourceError) -> (StatusCode, &'static str, Option<&'static str>) {
    let reference = Some("reference");
    match refused {
        SourceError::Signature(_) => (StatusCode::UNPROCESSABLE_ENTITY, "signature_refused", None),
        SourceError::Read { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "unreadable", None),
        SourceError::FileTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "component_too_large", None),
        SourceError::Oci(error) => match error {
            OciError::BadReference { .. } => (StatusCode::BAD_REQUEST, "bad_reference", reference),
            OciError::NotFound { .. } => (StatusCode::NOT_FOUND, "unknown_reference", reference),
            OciError::WrongKind { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "artifact_refused", reference),
            OciError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "component_too_large", reference),
            OciError::DigestMismatch { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "digest_mismatch", reference),
            OciError::TooSlow { .. } => (StatusCode::GATEWAY_TIMEOUT, "registry_too_slow", None),
            OciError::Unreachable { .. } => (StatusCode::BAD_GATEWAY, "registry_unreachable", None),
            OciError::Denied { .. } => (StatusCode::BAD_GATEWAY, "registry_denied", None),
            OciError::Refused { .. } => (StatusCode::BAD_GATEWAY, "registry_refused", None),
        },
    }
}
