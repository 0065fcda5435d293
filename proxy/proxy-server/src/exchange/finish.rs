//! Keeps the books of one request while it runs.

mod close;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dispatch::{Conduct, Decision, Entry, Resumed, Target};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use policy_api::{Event, FailureKind, FleetView, Holds, ReplicaId, RequestFacts, Subject};
use telemetry::{Span, SpanKind, names};
use tokio::sync::OwnedSemaphorePermit;

use crate::admin::breaker_word;
use crate::clock::micros;
use crate::decisions::{CALLS_MAX, Place, Record};
use crate::exchange::deadline::Deadline;
use crate::exchange::hops::REQUEST_ID;
use crate::exchange::peek::Seen;
use crate::exchange::place::Placed;
use crate::exchange::read_request::Endpoint;
use crate::exchange::relay::{ClientBody, relay};
use crate::exchange::send::Answer;
use crate::exchange::verdict::Verdict;
use crate::exchange::{ReadRequest, Refusal};
use crate::fleet::{Replica, Ticket};
use crate::proxy::Proxy;
use crate::routes::Route;
use crate::tenants::Reserved;

/// Faults kept of one request.
const FAULTS_MAX: usize = 16;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Running,
    Finished,
    /// A replica, or all of them, did not do it.
    Failed,
    /// The client left.
    Cancelled,
    /// It was turned away: by us, a policy or the replica.
    Refused,
}

/// One request's books. Dropped before they are closed, they say that the client left.
pub(crate) struct Journal {
    proxy: Arc<Proxy>,
    pub span: Span,
    relay_span: Option<Span>,
    began: Instant,
    sent: Option<Instant>,
    request_id: HeaderValue,
    method: Method,
    endpoint: Endpoint,
    route: Option<Arc<Route>>,
    /// Why it was turned away.
    refused: Option<&'static str>,
    room: Option<OwnedSemaphorePermit>,
    ticket: Option<Ticket>,
    replica: Option<ReplicaId>,
    /// The replica that it was sent to last.
    ran_on: Option<ReplicaId>,
    /// As events name the request; its notes are those of the policies so far.
    subject: Subject,
    prompt_tokens: u32,
    /// Of the tenant's budget; `None` before the request counts.
    reserved: Option<Reserved>,
    /// What policies set of the answer's headers.
    headers: Vec<(String, String)>,
    /// What admit hooks hold until the request ends.
    admitted: Holds,
    /// What the place hooks hold that placed it last.
    placed: Holds,
    /// Policies were asked about it.
    asked: bool,
    record: Record,
    /// Where the record is kept, once it is.
    kept: Option<Place>,
    /// There was a decision; the record is about it.
    decided: bool,
    closed: bool,
    /// What has been seen of the answer, while nobody looks at it.
    seen: Option<Seen>,
    /// When the first output of the replica that runs it came.
    first_here: Option<Instant>,
    deadline: Deadline,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Finished => "finished",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::Refused => "refused",
        }
    }
}

impl Journal {
    pub fn open(proxy: &Arc<Proxy>, request: &Request<Incoming>) -> Journal {
        let path = request.uri().path();
        let endpoint = Endpoint::of(path);
        let span = proxy.tracer.from_headers(endpoint.operation(), SpanKind::Server, request.headers());
        let path = crate::wire::cut(path);
        if span.is_recorded() {
            span.set(names::HTTP_METHOD, request.method().to_string());
            span.set(names::URL_PATH, path.to_owned());
        }
        let request_id = request.headers().get(REQUEST_ID).cloned().unwrap_or_else(new_request_id);
        let record = Record {
            time_ms: proxy.clock.now_unix_ms(),
            request_id: crate::wire::cut(request_id.to_str().unwrap_or_default()).to_owned(),
            trace_id: span.trace_id(),
            endpoint: path.into(),
            ..Record::default()
        };
        Journal {
            proxy: proxy.clone(),
            span,
            relay_span: None,
            began: proxy.clock.now(),
            sent: None,
            endpoint,
            request_id,
            method: request.method().clone(),
            route: None,
            refused: None,
            room: None,
            ticket: None,
            replica: None,
            ran_on: None,
            subject: Subject::default(),
            prompt_tokens: 0,
            reserved: None,
            headers: Vec::new(),
            admitted: Holds::default(),
            placed: Holds::default(),
            asked: false,
            record,
            kept: None,
            decided: false,
            closed: false,
            seen: None,
            first_here: None,
            deadline: Deadline::default(),
        }
    }

    /// Takes note of when it is over.
    pub fn ends_by(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Takes note of what the replica did with it; whether others may want to know.
    pub fn conducts(&mut self, conduct: Conduct) {
        let now_ms = self.proxy.clock.now_ms();
        if let Some(ticket) = &mut self.ticket
            && ticket.conducts(now_ms, conduct)
        {
            let standing = breaker_word(ticket.replica.standing(now_ms));
            tracing::info!(replica = ticket.replica.name, standing, "replica's breaker");
            self.proxy.fleet.touch();
        }
    }

    /// Takes room among the requests in flight.
    pub fn enter(&mut self) -> Result<(), Refusal> {
        let Proxy { in_flight, traffic, limits, .. } = &*self.proxy;
        let in_flight_max = limits.in_flight_max;
        let full = |_| Refusal::TooManyInFlight { in_flight_max, retry_after_s: traffic.retry_after_s(in_flight_max) };
        self.room = Some(in_flight.clone().try_acquire_owned().map_err(full)?);
        Ok(())
    }

    /// Takes note of what is asked.
    pub fn read(&mut self, request: &ReadRequest, facts: &RequestFacts) {
        self.subject = Subject {
            request: facts.id,
            tenant: facts.tenant.as_str().into(),
            model: facts.model.as_str().into(),
            endpoint: self.record.endpoint.clone(),
            ..Subject::default()
        };
        self.prompt_tokens = facts.prompt_tokens_estimate;
        self.route = request.route.clone();
        let record = &mut self.record;
        record.id = facts.id;
        record.model = self.subject.model.clone();
        record.tenant = self.subject.tenant.clone();
        record.stream = facts.stream;
        record.facts_digest = facts.digest();
        let span = &self.span;
        if !span.is_recorded() {
            return;
        }
        span.set(names::OPERATION, request.endpoint.operation());
        span.set(names::PROVIDER, "headworks");
        span.set(names::REQUEST_MODEL, facts.model.clone());
        span.set(names::TENANT, facts.tenant.clone());
        span.set(names::REGION, self.proxy.region.clone());
        if let Some(route) = &self.route {
            span.set("headworks.route", route.name.to_string());
        }
        if facts.output_tokens_max > 0 {
            span.set(names::REQUEST_MAX_TOKENS, i64::from(facts.output_tokens_max));
        }
        if let Some(temperature) = request.fields.temperature {
            span.set(names::REQUEST_TEMPERATURE, temperature);
        }
    }

    /// Takes note of what it may use of its tenant's budget.
    pub fn is_charged_to(&mut self, reserved: Reserved) {
        self.reserved = Some(reserved);
    }

    /// Takes note of an admission; what the admit hooks hold is held until the request ends.
    pub fn admitted(&mut self, decision: &Decision<Entry>, fleet: &FleetView, took: Duration) {
        self.admitted = decision.words.holds.clone();
        self.decided(decision, fleet, took);
    }

    /// Takes note of a placement; what the place hooks hold is held until it is placed anew. A held request holds nothing.
    pub fn placed(&mut self, decision: &Decision<Target>, fleet: &FleetView, took: Duration) {
        self.placed = match decision.verdict {
            Target::Hold => Holds::default(),
            _ => decision.words.holds.clone(),
        };
        self.decided(decision, fleet, took);
    }

    fn decided<V: Verdict>(&mut self, decision: &Decision<V>, fleet: &FleetView, took: Duration) {
        self.asked = true;
        self.proxy.policies.seen(decision);
        if !decision.notes.is_empty() {
            Arc::make_mut(&mut self.subject.notes).merge(&decision.notes);
        }
        for (name, value) in &decision.words.headers {
            self.headers.retain(|(known, _)| known != name);
            self.headers.push((name.clone(), value.clone()));
        }
        for fault in &decision.faults {
            self.proxy.metrics.policy_faults.with_label_values(&[&fault.by.slot]).inc();
            self.keep_fault(fault.to_string());
        }
        self.proxy.metrics.decide.observe(took.as_secs_f64());
        self.record.decide_us = self.record.decide_us.saturating_add(micros(took));
        let room = CALLS_MAX - self.record.calls.len().min(CALLS_MAX);
        self.record.calls.extend(decision.calls.iter().take(room).cloned());
        if decision.verdict.ends() {
            self.record.fleet_version = fleet.version;
            self.record.is_canary = decision.is_of_canary();
            self.record.by = decision.by.clone();
            self.record.verdict = decision.verdict.word();
            self.record.reason = decision.words.reason.clone();
            self.decided = true;
        }
    }

    /// Each fault once: a held request's may come again at every change of the fleet.
    fn keep_fault(&mut self, fault: String) {
        let faults = &mut self.record.faults;
        if faults.len() < FAULTS_MAX && !faults.contains(&fault) {
            tracing::warn!(fault, "policy fault");
            faults.push(fault);
        }
    }

    /// Keeps a replica's ticket until the request, or this try, ends.
    pub fn takes(&mut self, ticket: Ticket) {
        self.replica = Some(ticket.replica.id);
        self.ran_on = self.replica;
        self.ticket = Some(ticket);
    }

    /// Takes note of where it is sent.
    pub fn sends(&mut self, placed: &Placed) {
        self.record.target = Some(placed.name().to_owned());
        self.record.attempts += 1;
        self.sent = Some(self.proxy.clock.now());
        self.first_here = None;
        self.keep_record();
    }

    fn keep_record(&mut self) {
        self.keep(self.record.clone());
    }

    fn keep(&mut self, record: Record) {
        match self.kept {
            Some(place) => self.proxy.decisions.update(place, record),
            None => self.kept = Some(self.proxy.decisions.insert(record)),
        }
    }

    /// Takes note that the replica that was asked first broke, while another may still answer.
    pub fn hedge_lost(&mut self, error: &str) {
        self.conducts(Conduct::Failed);
        tracing::info!(error, request_id = ?self.request_id, "the first of two broke");
    }

    /// Takes note that another replica answered sooner: the first one's work is dropped.
    pub fn moves_to(&mut self, ticket: Ticket, placed: &Placed, sent: Instant) {
        if let Some(replica) = self.replica.take() {
            let kind = FailureKind::Cancelled;
            self.proxy.tell(|| Event::Failed { subject: self.subject.clone(), replica, kind });
        }
        self.let_go();
        self.takes(ticket);
        self.sends(placed);
        self.sent = Some(sent);
    }

    /// Takes note that a second replica's work is not needed.
    pub fn spares(&self, replica: ReplicaId) {
        let kind = FailureKind::Cancelled;
        self.proxy.tell(|| Event::Failed { subject: self.subject.clone(), replica, kind });
    }

    /// Takes note that a try failed.
    pub fn try_failed(&mut self, kind: FailureKind) {
        if let Some(replica) = self.replica.take() {
            self.proxy.tell(|| Event::Failed { subject: self.subject.clone(), replica, kind });
        }
        self.placed = Holds::default();
        self.let_go();
    }

    /// Takes note that the answer has begun.
    pub fn relays(&mut self, status: StatusCode) {
        self.span.set(names::HTTP_STATUS, i64::from(status.as_u16()));
        self.relay_span = Some(self.span.child("relay", SpanKind::Internal));
    }

    /// Takes note that the first output passes.
    pub fn first_output(&mut self, now: Instant) {
        self.first_here = Some(now);
        if let Some(span) = &self.relay_span {
            span.event("first token");
        }
        if let Some(ticket) = &mut self.ticket {
            ticket.begins();
        }
        if let (Some(replica), Some(sent)) = (self.replica, self.sent) {
            let ttft_us = micros(now.saturating_duration_since(sent));
            self.proxy.tell(|| Event::FirstToken { subject: self.subject.clone(), replica, ttft_us });
        }
    }

    /// Takes note that the stream goes on at another replica.
    pub fn goes_on(&mut self) {
        if let Some(span) = &self.relay_span {
            span.event("goes on elsewhere");
        }
        self.count_resumed(Resumed::Yes);
    }

    /// Counts what became of a stream whose replica died.
    pub fn count_resumed(&self, resumed: Resumed) {
        self.proxy.metrics.resumes.with_label_values(&[resumed.word()]).inc();
    }

    /// Takes note that the request's time is over.
    pub fn is_late(&mut self) {
        self.span.set(names::ERROR_TYPE, "deadline_exceeded");
        self.span.fail("the request's time is over");
    }

    /// Takes note that the answer ends with its replica's death.
    pub fn breaks_off(&mut self, error: &str) {
        self.span.set(names::ERROR_TYPE, "broke_after_first_byte");
        self.span.fail(error.to_owned());
    }

    /// Takes note that the replica died in mid-answer.
    pub fn died(&mut self) {
        self.proxy.metrics.midstream_deaths.inc();
        if let Some(span) = &self.relay_span {
            span.event("the replica died");
        }
        if let Some(ticket) = &self.ticket {
            ticket.replica.count_failure();
        }
        self.conducts(Conduct::Failed);
    }

    /// Takes note that the replica told of an error in its stream.
    pub fn told_of_error(&mut self) {
        self.span.set(names::ERROR_TYPE, "error_in_stream");
        self.span.fail("the replica told of an error in its stream");
        if let Some(ticket) = &self.ticket {
            ticket.replica.count_failure();
        }
        self.conducts(Conduct::Failed);
    }

    /// Turns the request away.
    pub fn refuse(mut self, refusal: Refusal) -> Response<ClientBody> {
        let refusal = match refusal {
            Refusal::ReplicaSays(answer) => {
                let (head, (first, body)) = answer.into_parts();
                return relay(self, Answer { head, first, body }, None);
            }
            other => other,
        };
        let status = refusal.status();
        self.span.set(names::HTTP_STATUS, i64::from(status.as_u16()));
        self.span.set(names::ERROR_TYPE, refusal.code());
        self.refused = Some(refusal.code());
        if status.is_server_error() {
            self.span.fail(refusal.code());
        }
        let outcome = if refusal.is_failure() { Outcome::Failed } else { Outcome::Refused };
        self.close(outcome, Some(status), None);
        let mut answer = refusal.answer_at(self.endpoint());
        answer.headers_mut().insert(REQUEST_ID, self.request_id.clone());
        self.add_headers(answer.headers_mut());
        answer
    }

    /// Gives the replica's ticket back; held requests may want it.
    fn let_go(&mut self) {
        if self.ticket.take().is_some() {
            self.proxy.fleet.touch();
        }
    }

    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The replica that runs it.
    pub fn ran_on(&self) -> Option<Arc<Replica>> {
        self.ticket.as_ref().map(|ticket| ticket.replica.clone())
    }

    /// Tries so far.
    pub fn tries(&self) -> u32 {
        self.record.attempts
    }

    /// Keeps what has been seen of the answer, should the client leave while nobody looks at it.
    pub fn keep_seen(&mut self, seen: Seen) {
        self.seen = Some(seen);
    }

    /// The request, as events name it.
    pub fn subject(&self) -> Subject {
        self.subject.clone()
    }

    /// About how many tokens its prompt has.
    pub fn prompt_tokens(&self) -> u32 {
        self.prompt_tokens
    }

    /// Adds the headers that policies set.
    pub fn add_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
    }

    pub fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    pub fn now(&self) -> Instant {
        self.proxy.clock.now()
    }

    pub fn silence_max(&self) -> Duration {
        Duration::from_millis(self.proxy.limits.silence_ms_max)
    }

    pub fn upgrade_idle_max(&self) -> Duration {
        Duration::from_millis(self.proxy.limits.upgrade_idle_ms_max)
    }

    pub fn peek_bytes_max(&self) -> usize {
        self.proxy.limits.peek_bytes_max
    }

    fn decide_us(&self) -> Option<u32> {
        self.decided.then_some(self.record.decide_us)
    }
}

fn new_request_id() -> HeaderValue {
    let id = format!("{:032x}", rand::random::<u128>());
    HeaderValue::from_str(&id).expect("hex digits make a header's value")
}
