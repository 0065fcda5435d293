//! The decision log: filtered, one by one, and as recordings to explain one by.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use dispatch::{By, FALLBACK_NAME, PolicyCall};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use openai_api::ErrorBody;
use serde::Serialize;

use crate::admin::absence::Absence;
use crate::admin::docs::hook_name;
use crate::admin::{Asked, DECISIONS_LIMIT, NotANumber, error, number};
use crate::decisions::Record;
use crate::proxy::Proxy;

#[derive(Serialize)]
pub(super) struct Decided {
    decisions: Vec<DecisionDoc>,
}

pub(super) async fn list(State(proxy): State<Arc<Proxy>>, asked: Asked) -> Result<Json<Decided>, NotANumber> {
    let limit = number(&asked, "limit", DECISIONS_LIMIT)?;
    let (since_ms, before_ms) = (number(&asked, "since_ms", 0)?, number(&asked, "before_ms", usize::MAX)?);
    let times = since_ms as u64..before_ms as u64;
    let Query(asked) = asked;
    let records = proxy.decisions.newest(limit, |record| times.contains(&record.time_ms) && fits(&asked, record));
    Ok(Json(Decided { decisions: records.into_iter().map(DecisionDoc::of).collect() }))
}

/// Whether a record is what every named filter wants.
fn fits(asked: &BTreeMap<String, String>, record: &Record) -> bool {
    let author = match &record.by {
        By::Policy(author) => Some(author),
        By::Fallback => None,
    };
    let fields: [(&str, &str); 8] = [
        ("slot", author.map_or("", |author| &author.slot)),
        ("policy", author.map_or(FALLBACK_NAME, |author| &author.name)),
        ("digest", author.map_or("", |author| &author.digest)),
        ("model", &record.model),
        ("tenant", &record.tenant),
        ("verdict", record.verdict),
        ("outcome", record.outcome.word()),
        ("request_id", &record.request_id),
    ];
    fields.into_iter().all(|(name, value)| asked.get(name).is_none_or(|wanted| wanted == value))
}

pub(super) async fn one(State(proxy): State<Arc<Proxy>>, Path(id): Path<String>) -> Response {
    match number_of(&id).and_then(|number| proxy.decisions.find(number)) {
        Some(record) => Json(DecisionDoc::of(record)).into_response(),
        None => {
            let message = Absence::of(&proxy, &id).to_string();
            error(StatusCode::NOT_FOUND, ErrorBody::invalid_request(message).code("unknown_decision"))
        }
    }
}

/// The decision's calls as a recording of their own.
pub(super) async fn replay(State(proxy): State<Arc<Proxy>>, Path(id): Path<String>) -> Response {
    let excerpt = match number_of(&id) {
        Some(request) => proxy.recorder.excerpt(request).await,
        None => Ok(None),
    };
    match excerpt {
        Ok(Some(lines)) => ([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response(),
        Ok(None) => {
            let record = number_of(&id).and_then(|number| proxy.decisions.find(number));
            let message = match record {
                None => Absence::of(&proxy, &id).to_string(),
                Some(record) if record.calls.is_empty() => {
                    format!("no policy was asked about decision {id}: the proxy's own fallback made it")
                }
                Some(_) => format!(
                    "decision {id} was made while nothing was recorded, so what its policies saw is not known; \
                     `headworks policy record --begin` (`POST /admin/v1/recording`) begins a recording"
                ),
            };
            error(StatusCode::NOT_FOUND, ErrorBody::invalid_request(message).code("not_recorded"))
        }
        Err(failed) => error(StatusCode::INTERNAL_SERVER_ERROR, ErrorBody::server(failed.to_string())),
    }
}

/// A decision's number by its id, as [`DecisionDoc`] writes it.
pub(super) fn number_of(id: &str) -> Option<u64> {
    u64::from_str_radix(id, 16).ok()
}

#[derive(Serialize)]
pub(super) struct DecisionDoc {
    id: String,
    time_ms: u64,
    request_id: String,
    trace_id: Option<String>,
    endpoint: String,
    model: String,
    tenant: String,
    stream: bool,
    slot: Option<String>,
    policy: String,
    policy_version: String,
    digest: Option<String>,
    canary: bool,
    verdict: &'static str,
    target: Option<String>,
    reason: Option<String>,
    decide_us: u32,
    attempts: u32,
    faults: Vec<String>,
    outcome: &'static str,
    status: Option<u16>,
    prompt_tokens: Option<u32>,
    output_tokens: Option<u32>,
    ttft_ms: Option<f64>,
    duration_ms: Option<f64>,
    calls: Vec<CallDoc>,
    facts_digest: String,
    fleet_version: u64,
}

/// One call of a policy.
#[derive(Serialize)]
struct CallDoc {
    slot: String,
    policy: String,
    digest: String,
    hook: &'static str,
    verdict: &'static str,
    us: f64,
    fuel: Option<u64>,
    canary: bool,
}

impl DecisionDoc {
    pub fn of(record: Record) -> DecisionDoc {
        let (slot, policy, policy_version, digest) = match &record.by {
            By::Policy(author) => {
                (Some(author.slot.clone()), author.name.clone(), author.version.clone(), Some(author.digest.clone()))
            }
            By::Fallback => (None, FALLBACK_NAME.to_owned(), env!("CARGO_PKG_VERSION").to_owned(), None),
        };
        let Record {
            id,
            time_ms,
            request_id,
            trace_id,
            endpoint,
            model,
            tenant,
            stream,
            by: _,
            calls,
            facts_digest,
            fleet_version,
            is_canary,
            verdict,
            target,
            reason,
            decide_us,
            attempts,
            faults,
            outcome,
            status,
            prompt_tokens,
            output_tokens,
            ttft_ms,
            duration_ms,
        } = record;
        DecisionDoc {
            id: format!("{id:x}"),
            time_ms,
            request_id,
            trace_id,
            endpoint: endpoint.to_string(),
            model: model.to_string(),
            tenant: tenant.to_string(),
            stream,
            slot,
            policy,
            policy_version,
            digest,
            canary: is_canary,
            verdict,
            target,
            reason,
            decide_us,
            attempts,
            faults,
            outcome: outcome.word(),
            status,
            prompt_tokens,
            output_tokens,
            ttft_ms,
            duration_ms,
            calls: calls.iter().map(CallDoc::of).collect(),
            facts_digest: format!("{facts_digest:016x}"),
            fleet_version,
        }
    }
}

impl CallDoc {
    fn of(call: &PolicyCall) -> CallDoc {
        let PolicyCall { by, is_canary, hook, verdict, took_ns, fuel } = call;
        CallDoc {
            slot: by.slot.clone(),
            policy: by.name.clone(),
            digest: by.digest.clone(),
            hook: hook_name(hook),
            verdict,
            us: *took_ns as f64 / 1e3,
            fuel: *fuel,
            canary: *is_canary,
        }
    }
}
