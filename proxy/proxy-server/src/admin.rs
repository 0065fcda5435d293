//! The admin port: docs/admin-api.md, the metrics, and the dashboard.

mod absence;
mod dashboard;
mod decisions;
mod docs;
mod events;
mod gate;
mod policies;
mod recording;
mod replicas;
mod sources;
mod tenants;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router, middleware};
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use openai_api::ErrorBody;
use serde::Serialize;

use crate::listen::Answers;
use crate::proxy::Proxy;
use crate::readiness::why_not_ready;
use docs::{FleetDoc, QueueDoc, TrafficDoc};

pub(crate) use docs::{RegionDoc, breaker_word};

/// Decisions given when none is said.
const DECISIONS_LIMIT: usize = 100;
/// Seconds of traffic given when none is said.
const TRAFFIC_SECONDS: usize = 300;

/// Answers on the admin port.
#[derive(Clone)]
pub(crate) struct Admin(TowerToHyperService<Router>);

impl Admin {
    pub fn new(proxy: Arc<Proxy>) -> Admin {
        Admin(TowerToHyperService::new(router(proxy)))
    }
}

impl Answers for Admin {
    type Body = Body;

    fn answer(self, request: Request<Incoming>) -> impl Future<Output = Response> + Send + 'static {
        let answer = hyper::service::Service::call(&self.0, request);
        async move {
            match answer.await {
                Ok(answer) => answer,
                Err(never) => match never {},
            }
        }
    }
}

fn router(proxy: Arc<Proxy>) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/admin/v1/fleet", get(fleet))
        .route("/admin/v1/region", get(region))
        .route("/admin/v1/replicas", get(replicas::list))
        .route("/admin/v1/replicas/{name}", delete(replicas::remove))
        .route("/admin/v1/replicas/{name}/drain", post(replicas::drain))
        .route("/admin/v1/replicas/{name}/undrain", post(replicas::undrain))
        .route("/admin/v1/discovery", get(replicas::discovery))
        .route("/admin/v1/reload", get(replicas::last_reload).post(replicas::reload))
        .route("/admin/v1/traffic", get(traffic))
        .route("/admin/v1/queue", get(queue))
        .route("/admin/v1/decisions", get(decisions::list))
        .route("/admin/v1/decisions/{id}", get(decisions::one))
        .route("/admin/v1/decisions/{id}/replay", get(decisions::replay))
        .route("/admin/v1/recording", get(recording::show).post(recording::change))
        .route("/admin/v1/recording/file", get(recording::file))
        .route("/admin/v1/policies", get(policies::list))
        .route("/admin/v1/policies/{slot}", put(policies::put).delete(policies::remove))
        .route("/admin/v1/policies/{slot}/config", get(policies::config).put(policies::configure))
        .route("/admin/v1/policies/{slot}/activate", post(policies::activate))
        .route("/admin/v1/policies/{slot}/promote", post(policies::promote))
        .route("/admin/v1/policies/{slot}/pull", post(sources::pull))
        .route("/admin/v1/policies/{slot}/rollback", post(policies::roll_back))
        .route("/admin/v1/policies/{slot}/versions/{number}/component", get(policies::component))
        .route("/admin/v1/tenants", get(tenants::list))
        .route("/admin/v1/tenants/{tenant}", put(tenants::put).delete(tenants::remove))
        .route("/admin/v1/tenants/{tenant}/keys", post(tenants::add_key))
        .route("/admin/v1/tenants/{tenant}/keys/{id}", delete(tenants::revoke))
        .route("/admin/v1/events", get(events::events))
        .route_layer(middleware::from_fn_with_state(proxy.clone(), gate::gate));
    let joining = Router::new()
        .route("/admin/v1/replicas", post(replicas::join))
        .route_layer(middleware::from_fn_with_state(proxy.clone(), gate::gate_of_joining));
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .merge(guarded)
        .merge(joining)
        .fallback(dashboard::file)
        .method_not_allowed_fallback(wrong_method)
        .with_state(proxy)
}

async fn readyz(State(proxy): State<Arc<Proxy>>) -> Response {
    match why_not_ready(&proxy) {
        None => "ok".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn metrics(State(proxy): State<Arc<Proxy>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], proxy.metrics.text(&proxy)).into_response()
}

async fn fleet(State(proxy): State<Arc<Proxy>>) -> Json<FleetDoc> {
    Json(FleetDoc::of(&proxy))
}

async fn region(State(proxy): State<Arc<Proxy>>) -> Json<RegionDoc> {
    Json(RegionDoc::own(&proxy))
}

async fn queue(State(proxy): State<Arc<Proxy>>) -> Json<QueueDoc> {
    Json(QueueDoc::of(&proxy))
}

/// What a path's query says.
type Asked = Query<BTreeMap<String, String>>;

/// What the query gives where a number is wanted.
struct NotANumber {
    name: &'static str,
    given: String,
}

impl IntoResponse for NotANumber {
    fn into_response(self) -> Response {
        let NotANumber { name, given } = self;
        let message = format!("`{name}` is {given:?}; it must be a whole number, 0 or more");
        error(StatusCode::BAD_REQUEST, ErrorBody::invalid_request(message).param(name))
    }
}

/// A number that the query may give.
fn number(Query(asked): &Asked, name: &'static str, otherwise: usize) -> Result<usize, NotANumber> {
    match asked.get(name) {
        None => Ok(otherwise),
        Some(given) => given.parse().map_err(|_| NotANumber { name, given: given.clone() }),
    }
}

#[derive(Serialize)]
struct Points {
    points: Vec<TrafficDoc>,
}

async fn traffic(State(proxy): State<Arc<Proxy>>, asked: Asked) -> Result<Json<Points>, NotANumber> {
    let points = proxy.traffic.points(number(&asked, "seconds", TRAFFIC_SECONDS)?);
    Ok(Json(Points { points: points.iter().map(|point| TrafficDoc::of(point, &proxy)).collect() }))
}

async fn wrong_method() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, ErrorBody::invalid_request("this path does not take this method"))
}

/// An error in the shape that the data port has too.
fn error(status: StatusCode, body: ErrorBody) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_json()).into_response()
}
