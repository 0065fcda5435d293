//! Sends a request to where it was placed, and waits for the first byte of the answer.

use std::time::Duration;

use bytes::Bytes;
use dispatch::{Failure, Repeat};
use http::header::HeaderValue;
use http::{Request, Response, StatusCode, response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use policy_api::{Event, FailureKind};
use telemetry::{Span, SpanKind, names};

use crate::exchange::authenticate::forget_key;
use crate::exchange::finish::Journal;
use crate::exchange::hops::{HOP, REQUEST_ID, onward};
use crate::exchange::place::Placed;
use crate::exchange::{ReadRequest, Refusal};
use crate::proxy::Proxy;
use crate::upstream::{NoConnection, in_words, no_connection};

/// An answer that has begun.
pub(crate) struct Answer {
    pub head: response::Parts,
    /// Read ahead of the head's relaying, so that a replica that dies before its first token can be replaced.
    pub first: Option<Frame<Bytes>>,
    pub body: Incoming,
}

/// A try that failed, and what the client is told if it was the last.
pub(crate) struct Failed {
    pub failure: Failure,
    pub refusal: Refusal,
}

pub(crate) async fn send(
    proxy: &Proxy,
    journal: &mut Journal,
    request: &ReadRequest,
    placed: Placed,
    attempt: u32,
) -> Result<Answer, Failed> {
    if let Placed::Replica(replica) = &placed {
        let Some(ticket) = replica.ticket(proxy.limits.replica_in_flight_max, journal.prompt_tokens()) else {
            return Err(Failed { failure: Failure::Busy, refusal: Refusal::ReplicaBusy });
        };
        proxy.fleet.mark();
        proxy.observer.tell(Event::Started { subject: journal.subject(), replica: replica.id });
        journal.takes(ticket);
    }
    journal.sends(&placed, attempt);
    let span = journal.span.child("send", SpanKind::Client);
    let key = if proxy.tenants.load().are_configured() { Key::Judged } else { Key::Replicas };
    describe(&span, &placed, attempt);
    let onward = onward_request(journal, request, &placed, &span, key);
    let limit = Duration::from_millis(proxy.limits.answer_ms_max);
    let result = match tokio::time::timeout(limit, first_byte(proxy, onward, request.repeat)).await {
        Ok(result) => result,
        Err(_) => {
            let error = format!("no answer within {} ms", limit.as_millis());
            Err(Broke { failure: Failure::TooSlow, error, weight: 0 })
        }
    };
    match result {
        Ok(answer) => {
            span.set(names::HTTP_STATUS, i64::from(answer.head.status.as_u16()));
            match answer.head.status {
                StatusCode::SERVICE_UNAVAILABLE => Err(busy(journal, &span, answer)),
                _ => Ok(answer),
            }
        }
        Err(broke) => {
            if span.is_recorded() {
                span.set(names::ERROR_TYPE, word_of(broke.failure));
                span.fail(broke.error.clone());
            }
            Err(failed(proxy, journal, &placed, broke))
        }
    }
}

/// A try that broke before the first byte.
struct Broke {
    failure: Failure,
    error: String,
    /// Of the failures in a row that make a replica unhealthy.
    weight: u32,
}

async fn first_byte(proxy: &Proxy, request: Request<Full<Bytes>>, repeat: Repeat) -> Result<Answer, Broke> {
    let broke = |error: &(dyn std::error::Error + 'static)| Broke {
        failure: Failure::BrokeBeforeFirstByte,
        error: in_words(error),
        weight: 1,
    };
    let answer = proxy.upstream.request(request).await.map_err(|error| match error.is_connect() {
        false => broke(&error),
        true => {
            let weight = match no_connection(&error) {
                // Nobody listens there: no second failure is needed to believe it.
                NoConnection::Refused => proxy.limits.unhealthy_after,
                NoConnection::Unclear => 1,
                NoConnection::OurOwn => 0,
            };
            Broke { failure: Failure::NotConnected, weight, ..broke(&error) }
        }
    })?;
    let (head, mut body) = answer.into_parts();
    let wait = repeat == Repeat::Harmless && !body.is_end_stream();
    let first = match wait {
        false => None,
        true => body.frame().await.transpose().map_err(|error| broke(&error))?,
    };
    Ok(Answer { head, first, body })
}

/// Whose the client's key is to judge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    /// It was judged here.
    Judged,
    /// The replica's.
    Replicas,
}

fn onward_request(
    journal: &Journal,
    request: &ReadRequest,
    placed: &Placed,
    span: &Span,
    with_key: Key,
) -> Request<Full<Bytes>> {
    let mut headers = onward(&request.headers);
    headers.insert(REQUEST_ID, journal.request_id().clone());
    let base = match placed {
        Placed::Replica(replica) => {
            if with_key == Key::Judged {
                forget_key(&mut headers);
            }
            &replica.url
        }
        Placed::Region { peer, hop } => {
            headers.insert(HOP, HeaderValue::from(*hop));
            &peer.data_url
        }
    };
    span.inject(&mut headers);
    let mut onward = Request::new(Full::new(request.body.clone()));
    *onward.method_mut() = request.method.clone();
    *onward.uri_mut() = base.join(&request.path);
    *onward.headers_mut() = headers;
    onward
}

fn describe(span: &Span, placed: &Placed, attempt: u32) {
    if !span.is_recorded() {
        return;
    }
    span.set(names::ATTEMPT, i64::from(attempt));
    match placed {
        Placed::Replica(replica) => {
            span.set(names::REPLICA, replica.name.clone());
            span.set(names::SERVER_ADDRESS, replica.url.authority().to_owned());
        }
        Placed::Region { peer, .. } => {
            span.set(names::REGION, peer.name.clone());
            span.set(names::SERVER_ADDRESS, peer.data_url.authority().to_owned());
        }
    }
}

/// 503 is back-pressure, not illness: another replica may have room.
fn busy(journal: &mut Journal, span: &Span, answer: Answer) -> Failed {
    span.set(names::ERROR_TYPE, word_of(Failure::Busy));
    journal.try_failed(FailureKind::Refused);
    let Answer { head, first, body } = answer;
    let answer = Response::from_parts(head, (first, body));
    Failed { failure: Failure::Busy, refusal: Refusal::ReplicaSays(Box::new(answer)) }
}

fn failed(proxy: &Proxy, journal: &mut Journal, placed: &Placed, broke: Broke) -> Failed {
    let Broke { failure, error, weight } = broke;
    let name = placed.name();
    tracing::info!(target_name = name, error, request_id = ?journal.request_id(), "a try failed");
    if let Placed::Replica(replica) = placed {
        replica.count_failure();
        if weight > 0 {
            proxy.replica_failed(replica, error, weight);
        }
    }
    journal.try_failed(FailureKind::Replica);
    let what = match failure {
        Failure::NotConnected => "could not be reached",
        Failure::TooSlow => "did not answer in time",
        _ => "broke off before its answer began",
    };
    let whom = match placed {
        Placed::Replica(_) => "replica",
        Placed::Region { .. } => "region",
    };
    let message = format!("the {whom} {name} {what}; try again");
    Failed { failure, refusal: Refusal::ReplicaFailed { failure, message } }
}

fn word_of(failure: Failure) -> &'static str {
    match failure {
        Failure::NotConnected => "not_connected",
        Failure::Busy => "busy",
        Failure::BrokeBeforeFirstByte => "broke_before_first_byte",
        Failure::TooSlow => "too_slow",
        Failure::BrokeAfterFirstByte => "broke_after_first_byte",
    }
}
