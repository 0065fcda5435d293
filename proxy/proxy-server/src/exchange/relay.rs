//! Passes an answer's frames to the client as they come, untouched and unbuffered, and counts what passes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::Sleep;

use crate::exchange::finish::{Journal, Outcome};
use crate::exchange::hops::{REQUEST_ID, strip};
use crate::exchange::peek::Peek;
use crate::exchange::read_request::Endpoint;
use crate::exchange::refusal::error_event;
use crate::exchange::send::Answer;
use crate::upstream::in_words;

/// The content type of a stream of events.
const EVENTS: &str = "text/event-stream";

/// A body on its way to a client of the data port.
pub(crate) enum ClientBody {
    /// The proxy's own words.
    Whole(Option<Bytes>),
    /// A replica's.
    Relay(Box<Relay>),
}

/// Why a body ends before its end: the connection is broken off, so that the client cannot take it for whole.
#[derive(Debug, Error)]
#[error("the replica broke off")]
pub(crate) struct BrokeOff;

/// An answer that passes. Dropped before its end, it drops the connection to the replica, which ends the work there.
pub(crate) struct Relay {
    first: Option<Frame<Bytes>>,
    /// `None` once the answer has ended.
    upstream: Option<Incoming>,
    end: End,
    silence: Silence,
    status: StatusCode,
    peek: Peek,
    journal: Journal,
}

/// How the head has said that the body's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By its length: no more bytes than these may follow.
    Length,
    /// By a last chunk.
    Chunk,
    /// By the connection's end, which may also be the replica's.
    Close,
    /// The same, but of a stream that says `[DONE]` before it ends.
    DoneThenClose,
}

/// Ends when the replica has sent nothing for too long.
struct Silence {
    timer: Pin<Box<Sleep>>,
    max: Duration,
}

/// Begins to relay an answer.
pub(crate) fn relay(mut journal: Journal, answer: Answer) -> Response<ClientBody> {
    let Answer { mut head, first, body } = answer;
    let end = end_of(&head, journal.endpoint());
    strip(&mut head.headers);
    if !head.headers.contains_key(&REQUEST_ID) {
        head.headers.insert(REQUEST_ID, journal.request_id().clone());
    }
    journal.add_headers(&mut head.headers);
    journal.relays(head.status);
    let peek = peek_for(&head.headers, journal.peek_bytes_max());
    let silence = Silence::of(journal.silence_max());
    let relay = Relay { first, upstream: Some(body), end, silence, status: head.status, peek, journal };
    Response::from_parts(head, ClientBody::Relay(Box::new(relay)))
}

fn peek_for(headers: &HeaderMap, bytes_max: usize) -> Peek {
    match headers.contains_key(CONTENT_ENCODING) {
        true => Peek::opaque(),
        false if is_of(headers, EVENTS) => Peek::events(bytes_max),
        false if is_of(headers, "application/json") => Peek::document(bytes_max),
        false => Peek::opaque(),
    }
}

fn end_of(head: &response::Parts, endpoint: Endpoint) -> End {
    let response::Parts { status, headers, .. } = head;
    let says_done = endpoint.says_done()
        && status.is_success()
        && is_of(headers, EVENTS)
        && !headers.contains_key(CONTENT_ENCODING);
    match headers.contains_key(CONTENT_LENGTH) {
        true => End::Length,
        false if headers.contains_key(TRANSFER_ENCODING) => End::Chunk,
        false if says_done => End::DoneThenClose,
        false => End::Close,
    }
}

fn is_of(headers: &HeaderMap, kind: &str) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        value.as_bytes().get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes()))
    })
}

impl ClientBody {
    /// A whole body.
    pub fn whole(bytes: impl Into<Bytes>) -> ClientBody {
        ClientBody::Whole(Some(bytes.into()))
    }
}

impl Silence {
    fn of(max: Duration) -> Silence {
        Silence { timer: Box::pin(tokio::time::sleep(max)), max }
    }

    fn broken(&mut self) {
        self.timer.as_mut().reset(tokio::time::Instant::now() + self.max);
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, BrokeOff>>>;

impl Relay {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let next = match (self.first.take(), &mut self.upstream) {
            (Some(first), _) => Some(Ok(first)),
            (None, Some(upstream)) => match Pin::new(upstream).poll_frame(cx) {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    ready!(self.silence.timer.as_mut().poll(cx));
                    let words = format!("it sent nothing for {} ms", self.silence.max.as_millis());
                    return self.broke_off(&words);
                }
            },
            (None, None) => return Poll::Ready(None),
        };
        match next {
            Some(Ok(frame)) => {
                self.silence.broken();
                if let Some(data) = frame.data_ref() {
                    let now = self.journal.now();
                    if self.peek.see(data, now) {
                        self.journal.first_output(now);
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => self.broke_off(&in_words(&error)),
            // Nothing but the missing `[DONE]` tells this end from a death.
            None if self.end == End::DoneThenClose && !self.peek.is_done() && !self.peek.has_error() => {
                self.broke_off("it closed the connection before [DONE]")
            }
            None => {
                self.ended();
                Poll::Ready(None)
            }
        }
    }

    fn ended(&mut self) {
        self.upstream = None;
        let outcome = match self.status.as_u16() {
            ..400 if self.peek.has_error() => {
                self.journal.told_of_error();
                Outcome::Failed
            }
            ..400 => Outcome::Finished,
            400..500 => Outcome::Refused,
            _ => Outcome::Failed,
        };
        self.journal.close(outcome, Some(self.status), Some(self.peek.end()));
    }

    /// The replica died in mid-answer. A stream of events can still say so; anything else is broken off.
    fn broke_off(&mut self, error: &str) -> Polled {
        // Nothing can follow `[DONE]`: some servers close without the last chunk.
        if self.peek.is_done() {
            self.ended();
            return Poll::Ready(None);
        }
        self.upstream = None;
        self.journal.died(error);
        self.journal.close(Outcome::Failed, Some(self.status), Some(self.peek.end()));
        match self.peek.before_own_event() {
            Some(before) if self.end != End::Length => {
                let mut event = before.as_bytes().to_vec();
                let words = "the replica broke off in the middle of its answer; try again";
                event.extend_from_slice(&error_event(self.journal.endpoint(), words));
                Poll::Ready(Some(Ok(Frame::data(event.into()))))
            }
            _ => Poll::Ready(Some(Err(BrokeOff))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.upstream.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.upstream.as_ref().map(Body::size_hint).unwrap_or_else(|| SizeHint::with_exact(0));
        let first = self.first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + first);
        }
        hint.set_lower(hint.lower() + first);
        hint
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.upstream.is_none() {
            return;
        }
        // A body of told length is not asked for its end, and a client may leave when it has read `[DONE]` or an error.
        match self.is_end_stream() || self.peek.is_done() || self.peek.has_error() {
            true => self.ended(),
            false => self.journal.close(Outcome::Cancelled, Some(self.status), Some(self.peek.end())),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match self.get_mut() {
            ClientBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            ClientBody::Relay(relay) => relay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ClientBody::Whole(bytes) => bytes.is_none(),
            ClientBody::Relay(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ClientBody::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            ClientBody::Relay(relay) => relay.size_hint(),
        }
    }
}
