//! The paths of the engine's port, and the answers that need no model.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use openai_api::{ModelList, ReplicaState};

use crate::answer::Endpoint;
use crate::exchange::exchange;
use crate::push;
use crate::refusal::Refusal;
use crate::server::{Health, Server};

/// All paths.
pub(crate) fn routes(server: Arc<Server>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{*model}", get(model))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/state", get(state))
        .route("/state/stream", get(states))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(server)
}

async fn chat(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Response {
    exchange(Endpoint::Chat, server, headers, body).await
}

async fn completions(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Response {
    exchange(Endpoint::Completions, server, headers, body).await
}

async fn models(State(server): State<Arc<Server>>) -> Json<ModelList> {
    Json(ModelList::of(vec![server.model_card()]))
}

async fn model(State(server): State<Arc<Server>>, asked: Result<Path<String>, PathRejection>, uri: Uri) -> Response {
    let card = server.model_card();
    match asked {
        Ok(Path(asked)) if asked == card.id => Json(card).into_response(),
        Ok(Path(asked)) => Refusal::no_such_model(&asked, &card.id).into_response(),
        // What it stands for is not UTF-8, so it is no name: repeat it as it was written.
        Err(_) => {
            let asked = uri.path().strip_prefix("/v1/models/").unwrap_or(uri.path());
            Refusal::no_such_model(asked, &card.id).into_response()
        }
    }
}

async fn health(State(server): State<Arc<Server>>) -> Response {
    let (status, word) = match server.health() {
        Health::Ok => (StatusCode::OK, "ok"),
        Health::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        Health::Dead => (StatusCode::SERVICE_UNAVAILABLE, "the driver has ended"),
    };
    (status, Json(serde_json::json!({ "status": word }))).into_response()
}

async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let text = server.metrics.render(server.reading());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn state(State(server): State<Arc<Server>>) -> Json<ReplicaState> {
    Json(server.state())
}

/// How often a follower wants to hear of changes.
#[derive(serde::Deserialize)]
struct Often {
    #[serde(default)]
    every_ms: u64,
}

async fn states(State(server): State<Arc<Server>>, Query(Often { every_ms }): Query<Often>) -> Response {
    let body = Body::from_stream(push::states(server, every_ms));
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")], body).into_response()
}

async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::no_such_path(uri.path())
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal::wrong_method(method.as_str(), uri.path())
}
