//! Why a request is not served, as its client is told: OpenAI's error shape, and what to change.

use bytes::Bytes;
use dispatch::Failure;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body::Frame;
use openai_api::ErrorBody;
use policy_api::Denial;
use upstream::Incoming;

use crate::base_url::PATH_BYTES_MAX;
use crate::exchange::ClientBody;
use crate::tenants::{BadToken, Spent, Why};
use crate::wire::{BadBody, Endpoint, NAME_BYTES_MAX, cut};

/// A request that is not served, and whose fault that is.
#[derive(Debug)]
pub(crate) enum Refusal {
    // The client's.
    NoKey,
    UnknownKey,
    BadToken(BadToken),
    Spent(Spent),
    BadBody(BadBody),
    BodyTooLarge {
        body_bytes_max: usize,
    },
    BodyTooSlow {
        body_ms_max: u64,
    },
    ClientBroke(String),
    WrongMethod {
        path: String,
    },
    UnknownPath {
        path: String,
    },
    PathTooLong,
    DotSegments,
    BadTimeout,
    TooManyHeaders {
        headers_max: usize,
    },
    /// Two servers could read it in two ways.
    BadHead {
        message: &'static str,
    },
    UnknownModel {
        model: String,
    },
    /// The time that the client gave its request is over.
    DeadlineOver,
    // A policy's decision.
    Denied(Denial),
    // Ours: no room.
    TooManyInFlight {
        in_flight_max: usize,
        retry_after_s: u64,
    },
    QueueFull {
        queue_max: usize,
        retry_after_s: u64,
    },
    HeldTooLong {
        hold_ms_max: u64,
        retry_after_s: u64,
    },
    // The fleet's.
    NobodyTakesWork,
    ReplicaBusy,
    /// The replica's own words, relayed as they are.
    ReplicaSays(Box<Response<(Option<Frame<Bytes>>, Incoming)>>),
    ReplicaFailed {
        failure: Failure,
        message: String,
    },
}

impl Refusal {
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NoKey | Refusal::UnknownKey | Refusal::BadToken(_) => StatusCode::UNAUTHORIZED,
            Refusal::Spent(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::BadBody(_) | Refusal::ClientBroke(_) | Refusal::DotSegments | Refusal::BadTimeout => {
                StatusCode::BAD_REQUEST
            }
            Refusal::BadHead { .. } => StatusCode::BAD_REQUEST,
            Refusal::PathTooLong => StatusCode::URI_TOO_LONG,
            Refusal::TooManyHeaders { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::BodyTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Refusal::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::UnknownPath { .. } | Refusal::UnknownModel { .. } => StatusCode::NOT_FOUND,
            Refusal::Denied(denial) => StatusCode::from_u16(denial.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            Refusal::TooManyInFlight { .. }
            | Refusal::QueueFull { .. }
            | Refusal::HeldTooLong { .. }
            | Refusal::NobodyTakesWork
            | Refusal::ReplicaBusy => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::ReplicaSays(answer) => answer.status(),
            Refusal::DeadlineOver | Refusal::ReplicaFailed { failure: Failure::TooSlow, .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Refusal::ReplicaFailed { .. } => StatusCode::BAD_GATEWAY,
        }
    }

    /// Whether a part of ours, not the client or a policy, is why.
    pub fn is_failure(&self) -> bool {
        matches!(
            self,
            Refusal::NobodyTakesWork | Refusal::ReplicaBusy | Refusal::ReplicaFailed { .. } | Refusal::ReplicaSays(_)
        )
    }

    /// A word for metrics and spans.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NoKey => "missing_api_key",
            Refusal::UnknownKey => "invalid_api_key",
            Refusal::BadToken(_) => "invalid_token",
            Refusal::Spent(Spent { resets_in_ms: Some(_), .. } | Spent { why: Why::Reserved { .. }, .. }) => {
                "budget_exceeded"
            }
            Refusal::Spent(_) => "insufficient_quota",
            Refusal::BadBody(_) => "bad_body",
            Refusal::BodyTooLarge { .. } => "body_too_large",
            Refusal::BodyTooSlow { .. } => "body_too_slow",
            Refusal::ClientBroke(_) => "client_broke",
            Refusal::WrongMethod { .. } => "method_not_allowed",
            Refusal::UnknownPath { .. } => "unknown_path",
            Refusal::BadHead { .. } => "bad_head",
            Refusal::PathTooLong => "path_too_long",
            Refusal::DotSegments => "dot_segments",
            Refusal::BadTimeout => "bad_timeout",
            Refusal::DeadlineOver => "deadline_exceeded",
            Refusal::TooManyHeaders { .. } => "too_many_headers",
            Refusal::UnknownModel { .. } => "model_not_found",
            Refusal::Denied(_) => "denied",
            Refusal::TooManyInFlight { .. } => "too_many_in_flight",
            Refusal::QueueFull { .. } => "queue_full",
            Refusal::HeldTooLong { .. } => "held_too_long",
            Refusal::NobodyTakesWork => "no_healthy_replica",
            Refusal::ReplicaBusy | Refusal::ReplicaSays(_) => "replica_busy",
            Refusal::ReplicaFailed { failure: Failure::TooSlow, .. } => "replica_too_slow",
            Refusal::ReplicaFailed { .. } => "replica_failed",
        }
    }

    /// The answer without a body of a replica's own.
    pub fn answer(&self) -> Response<ClientBody> {
        let mut answer = Response::new(ClientBody::whole(self.body().to_json()));
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Refusal::NoKey | Refusal::UnknownKey | Refusal::BadToken(_) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            Refusal::WrongMethod { .. } => headers.insert(ALLOW, HeaderValue::from_static("POST")),
            // What is left of the body is not worth reading, or not to be trusted.
            Refusal::BadHead { .. } | Refusal::BodyTooLarge { .. } | Refusal::BodyTooSlow { .. } => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"))
            }
            _ => None,
        };
        answer
    }

    /// The same in the words of this endpoint's clients.
    pub fn answer_at(&self, endpoint: Endpoint) -> Response<ClientBody> {
        let mut answer = self.answer();
        if endpoint == Endpoint::Messages {
            *answer.body_mut() = ClientBody::whole(in_anthropics_words(self.status(), &self.body()));
        }
        answer
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Refusal::Denied(denial) => denial.retry_after_ms.map(|ms| u64::from(ms).div_ceil(1000)),
            Refusal::Spent(spent) => spent.retry_after_ms().map(|ms| ms.div_ceil(1000)),
            Refusal::TooManyInFlight { retry_after_s, .. }
            | Refusal::QueueFull { retry_after_s, .. }
            | Refusal::HeldTooLong { retry_after_s, .. } => Some(*retry_after_s),
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => Some(1),
            _ => None,
        }
    }

    fn body(&self) -> ErrorBody {
        let code = self.code();
        match self {
            Refusal::NoKey => ErrorBody::of(
                "authentication_error",
                "the request has no API key; send yours as `Authorization: Bearer KEY`",
            )
            .code(code),
            Refusal::UnknownKey => {
                ErrorBody::of("authentication_error", "the API key is not known here; check it").code(code)
            }
            Refusal::BadToken(BadToken(why)) => {
                ErrorBody::of("authentication_error", format!("the token does not count: {why}")).code(code)
            }
            Refusal::Spent(spent) => ErrorBody::of("rate_limit_error", spent.to_string()).code(code),
            Refusal::BadBody(bad) => bad_body(bad),
            Refusal::BodyTooLarge { body_bytes_max } => ErrorBody::invalid_request(format!(
                "the request's body is larger than {body_bytes_max} bytes; send less"
            ))
            .code(code),
            Refusal::BodyTooSlow { body_ms_max } => {
                ErrorBody::invalid_request(format!("the request's body did not arrive within {body_ms_max} ms"))
                    .code(code)
            }
            Refusal::ClientBroke(error) => {
                ErrorBody::invalid_request(format!("the request's body could not be read: {error}")).code(code)
            }
            Refusal::WrongMethod { path } => {
                ErrorBody::invalid_request(format!("{} takes POST only", cut(path))).code(code)
            }
            Refusal::UnknownPath { path } => {
                ErrorBody::invalid_request(format!("there is nothing at {}; the endpoints are below /v1/", cut(path)))
                    .code(code)
            }
            Refusal::BadHead { message } => ErrorBody::invalid_request(*message).code(code),
            Refusal::PathTooLong => ErrorBody::invalid_request(format!(
                "the request's path and query are longer than {PATH_BYTES_MAX} bytes; send less, or send it in the body"
            ))
            .code(code),
            Refusal::DotSegments => {
                ErrorBody::invalid_request("the path has `.` or `..` segments; write it without them").code(code)
            }
            Refusal::BadTimeout => ErrorBody::invalid_request(
                "the header x-request-timeout-ms must be a whole number of milliseconds, 1 or more",
            )
            .code(code),
            Refusal::DeadlineOver => ErrorBody::server(DEADLINE_OVER).code(code),
            Refusal::TooManyHeaders { headers_max } => {
                ErrorBody::invalid_request(format!("the request has more than {headers_max} headers; send fewer"))
                    .code(code)
            }
            Refusal::UnknownModel { model } => ErrorBody::invalid_request(format!(
                "the model {:?} does not exist here; GET /v1/models lists those that do",
                cut(model)
            ))
            .param("model")
            .code(code),
            Refusal::Denied(denial) => denied(denial),
            Refusal::TooManyInFlight { in_flight_max, .. } => {
                ErrorBody::server(format!("the proxy already has {in_flight_max} requests in flight; try again"))
                    .code(code)
            }
            Refusal::QueueFull { queue_max, .. } => {
                ErrorBody::server(format!("{queue_max} requests already wait for a replica; try again")).code(code)
            }
            Refusal::HeldTooLong { hold_ms_max, .. } => {
                ErrorBody::server(format!("no replica came free within {hold_ms_max} ms; try again")).code(code)
            }
            Refusal::NobodyTakesWork => {
                ErrorBody::server("no replica that serves this model takes requests now; try again").code(code)
            }
            Refusal::ReplicaBusy | Refusal::ReplicaSays(_) => {
                ErrorBody::server("the replicas have no room for this request; try again").code(code)
            }
            Refusal::ReplicaFailed { message, .. } => ErrorBody::server(message.clone()).code(code),
        }
    }
}

fn bad_body(bad: &BadBody) -> ErrorBody {
    match bad {
        BadBody::NotUtf8 { at } => {
            ErrorBody::invalid_request(format!("the request's body is not UTF-8: byte {at} is the first that is wrong"))
                .code("invalid_utf8")
        }
        BadBody::NotJson(error) => {
            ErrorBody::invalid_request(format!("the request's body is not JSON: {error}")).code("invalid_json")
        }
        BadBody::NotAnObject => {
            ErrorBody::invalid_request("the request's body must be a JSON object").code("invalid_json")
        }
        BadBody::ModelNotAString => {
            ErrorBody::invalid_request("`model` must be a string").param("model").code("invalid_type")
        }
        BadBody::ModelTooLong => {
            ErrorBody::invalid_request(format!("`model` is longer than {NAME_BYTES_MAX} bytes; no model's name is"))
                .param("model")
                .code("invalid_value")
        }
    }
}

fn denied(denial: &Denial) -> ErrorBody {
    let kind = match denial.status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    ErrorBody::of(kind, denial.message.clone()).code(if denial.status == 429 {
        "rate_limit_exceeded"
    } else {
        "denied"
    })
}

/// `{"type":"error","error":{"type","message"}}`, and the types that Anthropic's clients know.
fn in_anthropics_words(status: StatusCode, body: &ErrorBody) -> String {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    serde_json::json!({"type": "error", "error": {"type": kind, "message": body.error.message}}).to_string()
}

/// One stream event that tells of an error after the stream had begun.
pub(crate) fn error_event(endpoint: Endpoint, message: &str, code: &str) -> Bytes {
    let body = ErrorBody::server(message).code(code);
    match endpoint {
        Endpoint::Messages => {
            format!("event: error\ndata: {}\n\n", in_anthropics_words(StatusCode::BAD_GATEWAY, &body)).into()
        }
        _ => format!("data: {}\n\n", body.to_json()).into(),
    }
}

/// What a client is told whose request took longer than it gave it.
pub(crate) const DEADLINE_OVER: &str =
    "the request's time, as its x-request-timeout-ms has it, is over; give it more, or ask for less";
