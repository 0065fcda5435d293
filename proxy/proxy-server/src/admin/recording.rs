//! Begins and ends recordings, and says how far one is.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use openai_api::ErrorBody;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::admin::error;
use crate::proxy::Proxy;
use crate::recorder::{Progress, RecorderError};

#[derive(Serialize)]
struct RecordingDoc {
    on: bool,
    file: Option<String>,
    prompts: bool,
    bytes: u64,
    bytes_max: u64,
    calls: u64,
    dropped: u64,
}

/// What is wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    on: bool,
    prompts: Option<bool>,
}

impl RecordingDoc {
    fn of(proxy: &Proxy) -> RecordingDoc {
        let Progress { file, prompts, bytes, bytes_max, calls, dropped } = proxy.recorder.progress();
        let configured = proxy.recording.as_ref();
        RecordingDoc {
            on: proxy.recorder.is_on(),
            bytes_max: if file.is_some() { bytes_max } else { configured.map_or(0, |to| to.bytes_max) },
            prompts: if file.is_some() { prompts } else { configured.is_some_and(|to| to.prompts) },
            file: file.map(|file| file.display().to_string()),
            bytes,
            calls,
            dropped,
        }
    }
}

pub(super) async fn show(State(proxy): State<Arc<Proxy>>) -> Response {
    Json(RecordingDoc::of(&proxy)).into_response()
}

pub(super) async fn change(State(proxy): State<Arc<Proxy>>, body: Bytes) -> Response {
    let Wanted { on, prompts } = match serde_json::from_slice(&body) {
        Ok(wanted) => wanted,
        Err(wrong) => {
            let message = format!(
                "the body must be {{\"on\":true}}, {{\"on\":true,\"prompts\":true}} or {{\"on\":false}}: {wrong}"
            );
            return error(StatusCode::BAD_REQUEST, ErrorBody::invalid_request(message).code("bad_recording"));
        }
    };
    if !on {
        proxy.recorder.end().await;
        return Json(RecordingDoc::of(&proxy)).into_response();
    }
    let (to, limits, now) = (proxy.recording.as_ref(), proxy.policies.runtime().limits(), proxy.clock.now_unix_ms());
    match proxy.recorder.begin(to, prompts, limits, now).await {
        Ok(()) => Json(RecordingDoc::of(&proxy)).into_response(),
        Err(refused) => {
            let (status, code) = meaning(&refused);
            error(status, ErrorBody::invalid_request(refused.to_string()).code(code))
        }
    }
}

/// The file of the current recording, as far as it is written, or of the last one.
pub(super) async fn file(State(proxy): State<Arc<Proxy>>) -> Response {
    match proxy.recorder.open().await {
        Ok(Some(file)) => {
            let pieces = stream::try_unfold(file, next_piece);
            ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pieces)).into_response()
        }
        Ok(None) => {
            let message = "nothing was recorded since the proxy began; `POST /admin/v1/recording` begins a recording";
            error(StatusCode::NOT_FOUND, ErrorBody::invalid_request(message).code("not_recorded"))
        }
        Err(failed) => error(StatusCode::INTERNAL_SERVER_ERROR, ErrorBody::server(failed.to_string())),
    }
}

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 64 << 10;

async fn next_piece(mut file: tokio::fs::File) -> io::Result<Option<(Bytes, tokio::fs::File)>> {
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    let read = file.read_buf(&mut piece).await?;
    Ok((read > 0).then(|| (piece.freeze(), file)))
}

fn meaning(refused: &RecorderError) -> (StatusCode, &'static str) {
    match refused {
        RecorderError::NoFolder => (StatusCode::CONFLICT, "no_recording_folder"),
        RecorderError::AlreadyOn => (StatusCode::CONFLICT, "already_recording"),
        RecorderError::Write { .. } | RecorderError::Read { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, "recording_failed")
        }
        RecorderError::Ended => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    }
}
