//! Takes replicas in, holds them back and lets them go, by operators and by the replicas themselves.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::StatusCode};
use openai_api::ErrorBody;
use serde::Serialize;
use serde_json::Value;

use crate::admin::error;
use crate::fleet::{JoinError, Replica, Source};
use crate::proxy::Proxy;

/// The least lease: a renewal must have time to come.
const LEASE_MS_LEAST: u64 = 500;
const LEASE_MS_MOST: u64 = 24 * 60 * 60 * 1000;

/// A replica as the fleet has it.
#[derive(Serialize)]
struct MemberDoc {
    id: u32,
    name: String,
    url: String,
    kind: &'static str,
    source: String,
    held_back: bool,
    leaving: bool,
    lease_ms: Option<u64>,
    in_flight: u32,
}

#[derive(Serialize)]
struct Members {
    replicas: Vec<MemberDoc>,
}

#[derive(Serialize)]
struct DiscoveryDoc {
    name: String,
    found: usize,
    error: Option<String>,
    age_ms: Option<u64>,
}

#[derive(Serialize)]
struct Discovered {
    discovery: Vec<DiscoveryDoc>,
}

impl MemberDoc {
    fn of(replica: &Replica, now_ms: u64) -> MemberDoc {
        MemberDoc {
            id: replica.id.0,
            name: replica.name.clone(),
            url: replica.url.to_string(),
            kind: replica.kind.word(),
            source: replica.stay.source.to_string(),
            held_back: replica.stay.is_held_back(),
            leaving: replica.stay.leaves(),
            lease_ms: replica.stay.lease_left_ms(now_ms),
            in_flight: replica.in_flight(),
        }
    }
}

pub(super) async fn list(State(proxy): State<Arc<Proxy>>) -> Response {
    let now_ms = proxy.clock.now_ms();
    let replicas = proxy.fleet.replicas().iter().map(|replica| MemberDoc::of(replica, now_ms)).collect();
    Json(Members { replicas }).into_response()
}

pub(super) async fn discovery(State(proxy): State<Arc<Proxy>>) -> Response {
    let now_ms = proxy.clock.now_ms();
    let said = proxy.discoveries.said().into_iter().map(|(name, said)| DiscoveryDoc {
        name: name.to_string(),
        found: said.found,
        error: said.error,
        age_ms: said.read_ms.map(|read_ms| now_ms.saturating_sub(read_ms)),
    });
    Json(Discovered { discovery: said.collect() }).into_response()
}

/// Takes one in, for good or by a lease, and renews a lease; one of no time gives it back.
pub(super) async fn join(State(proxy): State<Arc<Proxy>>, body: Bytes) -> Response {
    let (replica, lease_ms) = match read(&proxy, &body) {
        Ok(read) => read,
        Err(message) => return error(StatusCode::BAD_REQUEST, ErrorBody::invalid_request(message)),
    };
    let source = if lease_ms.is_some() { Source::Lease } else { Source::Admin };
    if lease_ms == Some(0) {
        return give_back(&proxy, &replica.name);
    }
    match proxy.join_replica(&source, &replica) {
        Ok((member, is_new)) => {
            let now_ms = proxy.clock.now_ms();
            if let Some(lease_ms) = lease_ms {
                member.stay.lease(now_ms + lease_ms);
            }
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            (status, Json(MemberDoc::of(&member, now_ms))).into_response()
        }
        Err(refused @ JoinError::NameTaken { .. }) => conflict(refused.to_string(), "name_taken"),
        Err(refused @ JoinError::Full { .. }) => conflict(refused.to_string(), "fleet_full"),
    }
}

fn read(proxy: &Proxy, body: &[u8]) -> Result<(crate::config::Replica, Option<u64>), String> {
    let example = r#"write {"name":"r0","url":"http://host:port","kind":"headworks","lease_ms":10000}"#;
    let mut said: Value =
        serde_json::from_slice(body).map_err(|error| format!("the body is not JSON ({error}); {example}"))?;
    let lease_ms = match said.as_object_mut().and_then(|said| said.remove("lease_ms")) {
        None | Some(Value::Null) => None,
        Some(given) => match given.as_u64() {
            Some(ms) if ms == 0 || (LEASE_MS_LEAST..=LEASE_MS_MOST).contains(&ms) => Some(ms),
            _ => {
                return Err(format!(
                    "`lease_ms` is {given}; it must be from {LEASE_MS_LEAST} to {LEASE_MS_MOST}, or 0 to give it back"
                ));
            }
        },
    };
    let replica = proxy.region_names.read_json(said).map_err(|wrong| format!("{wrong}; {example}"))?;
    Ok((replica, lease_ms))
}

fn give_back(proxy: &Proxy, name: &str) -> Response {
    if let Some(member) = proxy.fleet.named(name).filter(|member| member.stay.source == Source::Lease) {
        proxy.let_go(&member);
    }
    StatusCode::NO_CONTENT.into_response()
}

/// Lets one go: nothing new is sent to it, and it is forgotten once its requests are done.
pub(super) async fn remove(State(proxy): State<Arc<Proxy>>, Path(name): Path<String>) -> Response {
    let Some(member) = proxy.fleet.named(&name) else { return unknown(&name) };
    match &member.stay.source {
        Source::Lease | Source::Admin => {
            proxy.let_go(&member);
            (StatusCode::ACCEPTED, Json(MemberDoc::of(&member, proxy.clock.now_ms()))).into_response()
        }
        source => conflict(
            format!("the replica {name:?} is named by {source}; remove it there, or hold it back with /drain"),
            "not_yours",
        ),
    }
}

pub(super) async fn drain(State(proxy): State<Arc<Proxy>>, Path(name): Path<String>) -> Response {
    hold_back(&proxy, &name, true)
}

pub(super) async fn undrain(State(proxy): State<Arc<Proxy>>, Path(name): Path<String>) -> Response {
    hold_back(&proxy, &name, false)
}

fn hold_back(proxy: &Proxy, name: &str, is_held_back: bool) -> Response {
    let Some(member) = proxy.fleet.named(name) else { return unknown(name) };
    member.stay.hold_back(is_held_back);
    proxy.fleet.touch();
    tracing::info!(replica = name, held_back = is_held_back, "an operator changed what a replica takes");
    Json(MemberDoc::of(&member, proxy.clock.now_ms())).into_response()
}

pub(super) async fn reload(State(proxy): State<Arc<Proxy>>) -> Response {
    let reloaded = proxy.reload().await;
    let status = if reloaded.taken { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    (status, Json(reloaded)).into_response()
}

#[derive(Serialize)]
struct ReloadDoc {
    file: Option<String>,
    last: Option<crate::reload::Reloaded>,
}

pub(super) async fn last_reload(State(proxy): State<Arc<Proxy>>) -> Response {
    let file = proxy.reloads.path().map(|path| path.display().to_string());
    Json(ReloadDoc { file, last: proxy.reloads.last() }).into_response()
}

fn unknown(name: &str) -> Response {
    let message = format!("there is no replica {name:?}; GET /admin/v1/replicas lists them");
    error(StatusCode::NOT_FOUND, ErrorBody::invalid_request(message).code("unknown_replica"))
}

fn conflict(message: String, code: &'static str) -> Response {
    error(StatusCode::CONFLICT, ErrorBody::invalid_request(message).code(code))
}
