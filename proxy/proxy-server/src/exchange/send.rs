//! Sends a request to where it was placed, and waits for the first byte of the answer.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use dispatch::{Conduct, Failure, Repeat};
use http::header::{HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode, response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use policy_api::{Event, FailureKind};
use telemetry::{Span, SpanKind, names};
use tokio::time::Instant;
use upstream::{Again, Incoming, Outgoing, Server};

use crate::exchange::authenticate::KEYS;
use crate::exchange::finish::Journal;
use crate::exchange::hedge::{Hedging, hedged};
use crate::exchange::hops::{HOP, REQUEST_ID, ask_to_switch, onward};
use crate::exchange::place::Placed;
use crate::exchange::resume::ask_for_tokens;
use crate::exchange::{ReadRequest, Refusal};
use crate::hold;
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
    held: Option<hold::Place<'_>>,
    hedging: Option<Hedging<'_>>,
) -> Result<Answer, Failed> {
    if let Placed::Replica(replica) = &placed {
        let Some(ticket) = replica.ticket(proxy.limits.replica_in_flight_max, journal.prompt_tokens()) else {
            return Err(Failed { failure: Failure::Busy, refusal: Refusal::ReplicaBusy });
        };
        replica.begins(proxy.clock.now_ms());
        proxy.fleet.mark();
        proxy.tell(|| Event::Started { subject: journal.subject(), replica: replica.id });
        journal.takes(ticket);
    }
    // Its room is taken: the next one's turn.
    drop(held);
    journal.sends(&placed);
    let began = Instant::now();
    let span = journal.span.child("send", SpanKind::Client);
    describe(&span, &placed, journal.tries());
    let onward = onward_request(proxy, journal, request, &placed, &span);
    let answer_until = Instant::now() + Duration::from_millis(proxy.limits.answer_ms_max);
    let until = journal.deadline().or(answer_until);
    let server = server_of(&placed).clone();
    let first = std::pin::pin!(first_byte(proxy, server, onward, request.repeat));
    let answer = hedged(proxy, journal, request, first, hedging);
    let result = match tokio::time::timeout_at(until, answer).await {
        Ok(result) => result,
        Err(_) if until < answer_until => return Err(late(journal, &span)),
        Err(_) => {
            let error = format!("no answer within {} ms", proxy.limits.answer_ms_max);
            Err(Broke { failure: Failure::TooSlow, error, weight: 0 })
        }
    };
    match result {
        Ok(answer) => {
            if let Some(mut hedges) = proxy.hedges() {
                hedges.answered(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            span.set(names::HTTP_STATUS, i64::from(answer.head.status.as_u16()));
            judged(journal, &span, answer)
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

/// The client's time is over; the replica may be as quick as it can.
fn late(journal: &mut Journal, span: &Span) -> Failed {
    span.set(names::ERROR_TYPE, "deadline_exceeded");
    journal.try_failed(FailureKind::Cancelled);
    Failed { failure: Failure::TooSlow, refusal: Refusal::DeadlineOver }
}

/// What an answer's status says of the replica, and whether another one shall be asked.
fn judged(journal: &mut Journal, span: &Span, answer: Answer) -> Result<Answer, Failed> {
    let (conduct, failure) = match answer.head.status {
        // Back-pressure is no illness: another replica may have room.
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            (Conduct::Busy { retry_after_ms: retry_after_ms(&answer.head.headers) }, Failure::Busy)
        }
        status if status.is_server_error() => (Conduct::Failed, Failure::AtFault),
        _ => {
            journal.conducts(Conduct::Good);
            return Ok(answer);
        }
    };
    journal.conducts(conduct);
    span.set(names::ERROR_TYPE, word_of(failure));
    journal.try_failed(FailureKind::Refused);
    let Answer { head, first, body } = answer;
    let answer = Response::from_parts(head, (first, body));
    Err(Failed { failure, refusal: Refusal::ReplicaSays(Box::new(answer)) })
}

/// `Retry-After` in seconds; a date is not read.
fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1000))
}

/// A try that broke before the first byte.
pub(super) struct Broke {
    failure: Failure,
    pub error: String,
    /// Of the failures in a row that make a replica unhealthy.
    weight: u32,
}

/// Sends it as it is to one more replica.
pub(super) fn begin<'a>(
    proxy: &'a Proxy,
    journal: &Journal,
    request: &ReadRequest,
    placed: &Placed,
) -> impl Future<Output = Result<Answer, Broke>> + Send + use<'a> {
    let span = journal.span.child("send", SpanKind::Client);
    describe(&span, placed, journal.tries() + 1);
    let onward = onward_request(proxy, journal, request, placed, &span);
    let (server, repeat) = (server_of(placed).clone(), request.repeat);
    async move {
        let _span = span;
        first_byte(proxy, server, onward, repeat).await
    }
}

async fn first_byte(
    proxy: &Proxy,
    server: Server,
    request: Request<Outgoing>,
    repeat: Repeat,
) -> Result<Answer, Broke> {
    let broke = |error: &(dyn std::error::Error + 'static)| Broke {
        failure: Failure::BrokeBeforeFirstByte,
        error: in_words(error),
        weight: 1,
    };
    let again = match repeat {
        Repeat::Harmless => Again::Harmless,
        Repeat::OnlyUnseen => Again::Never,
    };
    let answer = server.request(request, again).await.map_err(|error| match error.is_connect() {
        false if error.is_no_room() => Broke { failure: Failure::Busy, weight: 0, ..broke(&error) },
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

fn onward_request(
    proxy: &Proxy,
    journal: &Journal,
    request: &ReadRequest,
    placed: &Placed,
    span: &Span,
) -> Request<Outgoing> {
    let forgets = matches!(placed, Placed::Replica(_)) && proxy.tenants.are_configured();
    let mut headers = onward(&request.headers, if forgets { &KEYS } else { &[] });
    if let Some(protocol) = &request.upgrade {
        ask_to_switch(&mut headers, protocol.clone());
    }
    ask_for_tokens(&mut headers, proxy, request, placed);
    headers.insert(REQUEST_ID, journal.request_id().clone());
    journal.deadline().tell(&mut headers, Instant::now());
    let base = match placed {
        Placed::Replica(replica) => &replica.url,
        Placed::Region { peer, hop } => {
            headers.insert(HOP, HeaderValue::from(*hop));
            &peer.data_url
        }
    };
    span.inject(&mut headers);
    let mut onward = Request::new(Outgoing { data: request.body.clone(), trailers: request.trailers.clone() });
    *onward.method_mut() = request.method.clone();
    *onward.uri_mut() = base.join(&request.path);
    *onward.headers_mut() = headers;
    onward
}

fn server_of(placed: &Placed) -> &Server {
    match placed {
        Placed::Replica(replica) => &replica.link.requests,
        Placed::Region { peer, .. } => &peer.data.requests,
    }
}

fn describe(span: &Span, placed: &Placed, attempt: u32) {
    if !span.is_recorded() {
        return;
    }
    span.set(names::ATTEMPT, i64::from(attempt));
    match placed {
        Placed::Replica(replica) => {
            span.set(names::REPLICA, replica.name.clone());
            span.set(names::SERVER_ADDRESS, replica.url.authority().to_string());
        }
        Placed::Region { peer, .. } => {
            span.set(names::REGION, peer.name.clone());
            span.set(names::SERVER_ADDRESS, peer.data_url.authority().to_string());
        }
    }
}

fn failed(proxy: &Proxy, journal: &mut Journal, placed: &Placed, broke: Broke) -> Failed {
    let Broke { failure, error, weight } = broke;
    if failure == Failure::Busy {
        tracing::info!(target_name = placed.name(), error, "no room for a try");
        journal.conducts(Conduct::Unknown);
        journal.try_failed(FailureKind::Refused);
        return Failed { failure, refusal: Refusal::ReplicaBusy };
    }
    // What we had no means for says nothing of the replica.
    let is_its_own = weight > 0 || failure == Failure::TooSlow;
    journal.conducts(if is_its_own { Conduct::Failed } else { Conduct::Unknown });
    let name = placed.name();
    tracing::info!(target_name = name, error, request_id = ?journal.request_id(), "a try failed");
    if let Placed::Replica(replica) = placed {
        replica.count_failure();
        // Where nobody listens there is no replica; whatever else it does is for its breaker.
        if weight >= proxy.limits.unhealthy_after {
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
        Failure::AtFault => "at_fault",
        Failure::BrokeAfterFirstByte => "broke_after_first_byte",
    }
}
