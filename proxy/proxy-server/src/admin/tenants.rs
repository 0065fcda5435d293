//! The tenants over the admin API: listed with what they have used, made, changed, given keys and robbed of them.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use openai_api::ErrorBody;
use serde::Serialize;

use crate::admin::error;
use crate::config::{Allowance, TenantFile, key_id};
use crate::proxy::Proxy;
use crate::tenants::{ChangeError, NewKey, Register, Rules, Use};

/// All tenants.
#[derive(Serialize)]
pub(super) struct TenantsDoc {
    /// Whether clients need a key or a token.
    keys_needed: bool,
    tenants: Vec<TenantDoc>,
}

#[derive(Serialize)]
struct TenantDoc {
    tenant: String,
    /// Whether it is in the configuration itself, where alone it can be changed.
    configured: bool,
    priority: u32,
    models: Vec<String>,
    budget: AllowanceDoc,
    used: UseDoc,
    keys: Vec<KeyDoc>,
}

#[derive(Serialize)]
struct AllowanceDoc {
    requests_per_day: Option<u64>,
    tokens_per_day: Option<u64>,
    tokens_total: Option<u64>,
}

#[derive(Serialize)]
struct UseDoc {
    requests_today: u64,
    tokens_today: u64,
    tokens_total: u64,
    /// What requests under way may use yet.
    tokens_reserved: u64,
}

/// A key, by what names it.
#[derive(Serialize)]
struct KeyDoc {
    id: String,
}

/// A key, this once.
#[derive(Serialize)]
struct NewKeyDoc {
    tenant: String,
    id: String,
    key: String,
}

pub(super) async fn list(State(proxy): State<Arc<Proxy>>) -> Json<TenantsDoc> {
    Json(TenantsDoc::of(&proxy))
}

pub(super) async fn put(State(proxy): State<Arc<Proxy>>, Path(name): Path<String>, body: Bytes) -> Response {
    let rules = match body.is_empty() {
        true => Rules::default(),
        false => match serde_json::from_slice(&body) {
            Ok(rules) => rules,
            Err(wrong) => {
                let message = format!("the body must be an object with `priority`, `models`, `budget`: {wrong}");
                return error(StatusCode::BAD_REQUEST, ErrorBody::invalid_request(message).code("bad_tenant"));
            }
        },
    };
    changed(proxy, move |register| register.put(&name, rules)).await
}

pub(super) async fn remove(State(proxy): State<Arc<Proxy>>, Path(name): Path<String>) -> Response {
    changed(proxy, move |register| register.remove(&name)).await
}

pub(super) async fn revoke(State(proxy): State<Arc<Proxy>>, Path((name, id)): Path<(String, String)>) -> Response {
    changed(proxy, move |register| register.revoke(&name, &id)).await
}

pub(super) async fn add_key(State(proxy): State<Arc<Proxy>>, Path(name): Path<String>) -> Response {
    let tenant = name.clone();
    match blocking(&proxy, move |register| register.add_key(&name)).await {
        Err(refused) => refused,
        Ok(made) => {
            let id = made.id();
            let NewKey { key, sha256: _ } = made;
            (StatusCode::CREATED, Json(NewKeyDoc { tenant, id, key })).into_response()
        }
    }
}

async fn changed(
    proxy: Arc<Proxy>,
    change: impl FnOnce(&Register) -> Result<(), ChangeError> + Send + 'static,
) -> Response {
    match blocking(&proxy, change).await {
        Ok(()) => Json(TenantsDoc::of(&proxy)).into_response(),
        Err(refused) => refused,
    }
}

async fn blocking<T: Send + 'static>(
    proxy: &Proxy,
    change: impl FnOnce(&Register) -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, Response> {
    let register = proxy.tenants.clone();
    match tokio::task::spawn_blocking(move || change(&register)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(wrong)) => Err(refusal(&wrong)),
        Err(broke) => {
            let body = ErrorBody::server(format!("the change broke: {broke}"));
            Err(error(StatusCode::INTERNAL_SERVER_ERROR, body))
        }
    }
}

fn refusal(wrong: &ChangeError) -> Response {
    let (status, code) = match wrong {
        ChangeError::NoFile => (StatusCode::CONFLICT, "no_tenants_file"),
        ChangeError::Configured(_) => (StatusCode::CONFLICT, "tenant_configured"),
        ChangeError::UnknownTenant(_) => (StatusCode::NOT_FOUND, "unknown_tenant"),
        ChangeError::UnknownKey { .. } => (StatusCode::NOT_FOUND, "unknown_key"),
        ChangeError::Refused(_) => (StatusCode::BAD_REQUEST, "bad_tenant"),
        ChangeError::Write(_) => (StatusCode::INTERNAL_SERVER_ERROR, "not_written"),
    };
    let message = wrong.to_string();
    let body = match status.is_server_error() {
        true => ErrorBody::server(message),
        false => ErrorBody::invalid_request(message),
    };
    error(status, body.code(code))
}

impl TenantsDoc {
    fn of(proxy: &Proxy) -> TenantsDoc {
        let (register, now_unix_ms) = (&proxy.tenants, proxy.clock.now_unix_ms());
        let (own, listed) = register.written();
        let tenants = register.now();
        let doc = |configured, file: TenantFile| {
            let account = tenants.named(&file.name).map(|tenant| &*tenant.account);
            let used = account.map(|account| (account.used(now_unix_ms), account.reserved()));
            TenantDoc::of(configured, file, used.unwrap_or_default())
        };
        let own = own.into_iter().map(|file| doc(true, file));
        let listed = listed.into_iter().map(|file| doc(false, file));
        TenantsDoc { keys_needed: register.are_configured(), tenants: own.chain(listed).collect() }
    }
}

impl TenantDoc {
    fn of(configured: bool, file: TenantFile, (used, tokens_reserved): (Use, u64)) -> TenantDoc {
        let TenantFile { name, key_sha256, priority, models, budget } = file;
        let Allowance { requests_per_day, tokens_per_day, tokens_total } = budget;
        TenantDoc {
            tenant: name,
            configured,
            priority,
            models,
            budget: AllowanceDoc { requests_per_day, tokens_per_day, tokens_total },
            used: UseDoc {
                requests_today: used.requests_today,
                tokens_today: used.tokens_today,
                tokens_total: used.tokens_total,
                tokens_reserved,
            },
            keys: key_sha256.iter().map(|key| KeyDoc { id: key_id(key) }).collect(),
        }
    }
}
