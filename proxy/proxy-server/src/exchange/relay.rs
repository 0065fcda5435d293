//! Passes an answer's frames to the client as they come, untouched and unbuffered, and counts what passes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, Version, response};
use http_body::{Body, Frame, SizeHint};
use policy_api::Health;
use thiserror::Error;
use upstream::Incoming;

use crate::exchange::finish::{Journal, Outcome};
use crate::exchange::hops::{REQUEST_ID, strip};
use crate::exchange::peek::Peek;
use crate::exchange::read_request::Endpoint;
use crate::exchange::refusal::{DEADLINE_OVER, error_event};
use crate::exchange::resume::{GoingOn, Resumption, WentOn};
use crate::exchange::send::Answer;
use crate::exchange::silence::Silence;
use crate::fleet::Replica;
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
    /// `None` once the answer has ended, and while nobody answers.
    upstream: Option<Incoming>,
    end: End,
    silence: Silence,
    status: StatusCode,
    peek: Peek,
    /// Away while the stream is being placed anew.
    journal: Option<Journal>,
    /// What the stream needs to go on at another replica, where it may.
    resumption: Option<Box<Resumption>>,
    going_on: Option<GoingOn>,
    /// The replica's first output is still to come.
    awaits_output: bool,
}

/// How the head has said that the body's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By its length: no more bytes than these may follow.
    Length,
    /// By a last chunk, or the last frame of a stream of HTTP/2.
    Chunk,
    /// By the connection's end, which may also be the replica's.
    Close,
    /// The same, but of a stream that says `[DONE]` before it ends.
    DoneThenClose,
}

/// How often is looked at a silent stream that could go on elsewhere.
const STALL_LOOK: Duration = Duration::from_millis(500);

/// Begins to relay an answer.
pub(crate) fn relay(mut journal: Journal, answer: Answer, resumption: Option<Box<Resumption>>) -> Response<ClientBody> {
    let Answer { mut head, first, body } = answer;
    let end = end_of(&head, journal.endpoint());
    strip(&mut head.headers);
    if !head.headers.contains_key(&REQUEST_ID) {
        head.headers.insert(REQUEST_ID, journal.request_id().clone());
    }
    journal.add_headers(&mut head.headers);
    journal.relays(head.status);
    let peek = peek_for(&head.headers, journal.peek_bytes_max());
    let (silence_max, deadline) = (journal.silence_max(), journal.deadline());
    let look = if resumption.is_some() { STALL_LOOK.min(silence_max) } else { silence_max };
    let relay = Relay {
        first,
        upstream: Some(body),
        end,
        silence: Silence::of(silence_max, look, deadline),
        status: head.status,
        peek,
        journal: Some(journal),
        resumption,
        going_on: None,
        awaits_output: true,
    };
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
    let response::Parts { status, headers, version, .. } = head;
    let says_done = endpoint.says_done()
        && status.is_success()
        && is_of(headers, EVENTS)
        && !headers.contains_key(CONTENT_ENCODING);
    match headers.contains_key(CONTENT_LENGTH) {
        true => End::Length,
        false if headers.contains_key(TRANSFER_ENCODING) || *version == Version::HTTP_2 => End::Chunk,
        false if says_done => End::DoneThenClose,
        false => End::Close,
    }
}

/// Trailers without what is about one connection.
fn about_the_message(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            strip(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(other) => other,
    }
}

/// Whether a body is a stream of events.
pub(crate) fn is_of_events(headers: &HeaderMap) -> bool {
    is_of(headers, EVENTS)
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

type Polled = Poll<Option<Result<Frame<Bytes>, BrokeOff>>>;

/// What a replica says next.
enum Said {
    Frame(Frame<Bytes>),
    Over,
    Broke(String),
    /// Nothing in time.
    Late,
}

/// What the client is told next.
type Passed = Result<Frame<Bytes>, BrokeOff>;

impl Relay {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        loop {
            let passed = if let Some(going_on) = &mut self.going_on {
                let went_on = ready!(going_on.as_mut().poll(cx));
                self.going_on = None;
                self.went_on(went_on)
            } else if self.upstream.is_some() || self.first.is_some() {
                match ready!(self.poll_said(cx)) {
                    Said::Frame(frame) => self.pass(frame).map(Ok),
                    Said::Over => self.over(),
                    Said::Broke(error) => self.died(&error),
                    Said::Late => self.late(),
                }
            } else {
                return Poll::Ready(None);
            };
            if let Some(passed) = passed {
                return Poll::Ready(Some(passed));
            }
        }
    }

    fn poll_said(&mut self, cx: &mut Context<'_>) -> Poll<Said> {
        if self.silence.is_late() {
            return Poll::Ready(Said::Late);
        }
        if self.resumption.as_ref().is_some_and(|resumption| resumption.seam.has_failed()) {
            return Poll::Ready(Said::Broke("it told of an error in its stream".to_owned()));
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Said::Frame(first));
        }
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(Said::Over) };
        if let Poll::Ready(next) = Pin::new(upstream).poll_frame(cx) {
            return Poll::Ready(match next {
                Some(Ok(frame)) => Said::Frame(frame),
                Some(Err(error)) => Said::Broke(in_words(&error)),
                None => Said::Over,
            });
        }
        loop {
            let silent = ready!(self.silence.poll_look(cx));
            if self.silence.is_late() {
                return Poll::Ready(Said::Late);
            }
            if self.is_dead(silent) {
                return Poll::Ready(Said::Broke(format!("it sent nothing for {} ms", silent.as_millis())));
            }
        }
    }

    /// A stream that nobody else can take waits longer for its replica.
    fn is_dead(&mut self, silent: Duration) -> bool {
        let Some(resumption) = &self.resumption else { return silent >= self.silence.max };
        let replica = self.journal.as_ref().and_then(Journal::ran_on);
        let may_go = |replica: &Arc<Replica>| {
            let stalled = silent >= resumption.stall_max() || replica.reading().health == Health::Unhealthy;
            stalled && resumption.has_elsewhere(replica.id)
        };
        silent >= self.silence.max || replica.as_ref().is_some_and(may_go)
    }

    /// A frame as the client gets it; `None` while it waits for more.
    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        self.silence.broken();
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return Some(about_the_message(frame)),
        };
        if let Some(resumption) = &mut self.resumption {
            data = resumption.seam.pass(data);
            if data.is_empty() {
                return None;
            }
        }
        self.see(&data);
        Some(Frame::data(data))
    }

    fn see(&mut self, data: &Bytes) {
        let Some(journal) = &mut self.journal else { return };
        let now = journal.now();
        if self.peek.see(data, now) && std::mem::take(&mut self.awaits_output) {
            journal.first_output(now);
        }
    }

    /// The replica has nothing more to say.
    fn over(&mut self) -> Option<Passed> {
        // Nothing but the missing `[DONE]` tells this end from a death.
        if self.end == End::DoneThenClose && !self.peek.is_done() && !self.peek.has_error() {
            return self.died("it closed the connection before [DONE]");
        }
        let rest = self.resumption.as_mut().map(|resumption| resumption.seam.end()).filter(|rest| !rest.is_empty());
        if let Some(rest) = &rest {
            self.see(rest);
        }
        self.ended();
        rest.map(|rest| Ok(Frame::data(rest)))
    }

    fn ended(&mut self) {
        self.upstream = None;
        let Some(journal) = &mut self.journal else { return };
        let outcome = match self.status.as_u16() {
            ..400 if self.peek.has_error() => {
                journal.told_of_error();
                Outcome::Failed
            }
            ..400 => Outcome::Finished,
            400..500 => Outcome::Refused,
            _ => Outcome::Failed,
        };
        journal.close(outcome, Some(self.status), Some(self.peek.ended()));
    }

    /// The replica died in mid-answer. Another one goes on, if that can be.
    fn died(&mut self, error: &str) -> Option<Passed> {
        // Nothing can follow `[DONE]`: some servers close without the last chunk.
        if self.peek.is_done() {
            self.ended();
            return None;
        }
        self.upstream = None;
        let journal = self.journal.as_mut().expect("only a stream that goes on is without its books");
        journal.died();
        let from = journal.ran_on().map(|replica| replica.id);
        match self.resumption.as_mut().map(|resumption| resumption.died()) {
            Some(Ok(())) => {
                journal.keep_seen(self.peek.end());
                let books = self.resumption.take().zip(self.journal.take());
                self.going_on = books.map(|(resumption, journal)| resumption.go_on(journal, from));
                None
            }
            Some(Err(why)) => {
                journal.count_resumed(why);
                Some(self.break_off(&format!("{error}; {why}")))
            }
            None => Some(self.break_off(error)),
        }
    }

    /// The stream goes on elsewhere, or cannot.
    fn went_on(&mut self, went_on: WentOn) -> Option<Passed> {
        let WentOn { resumption, mut journal, answer } = went_on;
        match answer {
            Ok(Answer { head, first, body }) => {
                journal.goes_on();
                self.end = end_of(&head, journal.endpoint());
                (self.first, self.upstream) = (first, Some(body));
                (self.journal, self.resumption) = (Some(journal), Some(resumption));
                self.awaits_output = true;
                self.silence.broken();
                None
            }
            Err(why) => {
                journal.count_resumed(why);
                self.journal = Some(journal);
                Some(self.break_off(&why.to_string()))
            }
        }
    }

    /// The client's time is over: dropping the connection ends the work.
    fn late(&mut self) -> Option<Passed> {
        if self.peek.is_done() {
            self.ended();
            return None;
        }
        self.upstream = None;
        self.first = None;
        if let Some(journal) = &mut self.journal {
            journal.is_late();
        }
        Some(self.end_with(DEADLINE_OVER, "deadline_exceeded"))
    }

    fn break_off(&mut self, error: &str) -> Passed {
        if let Some(journal) = &mut self.journal {
            journal.breaks_off(error);
        }
        self.end_with("the replica broke off in the middle of its answer; try again", "replica_failed")
    }

    /// The answer ends here. A stream of events can still say so; anything else is broken off.
    fn end_with(&mut self, message: &str, code: &str) -> Passed {
        let seen = self.peek.end();
        if let Some(journal) = &mut self.journal {
            journal.close(Outcome::Failed, Some(self.status), Some(seen));
        }
        match self.peek.before_own_event() {
            Some(before) if self.end != End::Length => {
                let mut event = before.as_bytes().to_vec();
                // A stream that goes on elsewhere, and is without its books, has OpenAI's shape.
                let endpoint = self.journal.as_ref().map_or(Endpoint::Other, Journal::endpoint);
                event.extend_from_slice(&error_event(endpoint, message, code));
                Ok(Frame::data(event.into()))
            }
            _ => Err(BrokeOff),
        }
    }

    fn is_end_stream(&self) -> bool {
        let upstream_is_over = match (&self.upstream, &self.resumption) {
            (None, _) => self.going_on.is_none(),
            // Something may wait for the end.
            (Some(_), Some(_)) => false,
            (Some(upstream), None) => upstream.is_end_stream(),
        };
        self.first.is_none() && upstream_is_over
    }

    fn size_hint(&self) -> SizeHint {
        if self.resumption.is_some() || self.going_on.is_some() {
            return SizeHint::default();
        }
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
            false => {
                let seen = self.peek.end();
                if let Some(journal) = &mut self.journal {
                    journal.close(Outcome::Cancelled, Some(self.status), Some(seen));
                }
            }
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
