//! A span: started, given attributes, ended; and how it travels in HTTP headers.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::HeaderValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanBuilder, Status, TraceContextExt, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;

pub use opentelemetry::Value;
pub use opentelemetry::trace::SpanKind;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Starts spans. Cheap to clone; [`Tracer::off`] makes spans that cost nothing and still pass a client's context on.
#[derive(Clone)]
pub struct Tracer {
    inner: Option<opentelemetry_sdk::trace::SdkTracer>,
}

/// One span. Ends when dropped, or earlier by [`Span::end`].
#[derive(Clone)]
pub struct Span {
    context: Context,
    tracer: Tracer,
}

impl Tracer {
    pub(crate) fn over(inner: opentelemetry_sdk::trace::SdkTracer) -> Tracer {
        Tracer { inner: Some(inner) }
    }

    /// A tracer that records nothing.
    pub fn off() -> Tracer {
        Tracer { inner: None }
    }

    /// A span whose parent is what the headers' `traceparent` names, or a new trace when they name none.
    pub fn from_headers(&self, name: &'static str, kind: SpanKind, headers: &HeaderMap) -> Span {
        let parent = match headers.contains_key(TRACEPARENT) {
            true => TraceContextPropagator::new().extract_with_context(&Context::new(), &Incoming::of(headers)),
            false => Context::new(),
        };
        self.start(SpanBuilder::from_name(name).with_kind(kind), &parent)
    }

    fn start(&self, builder: SpanBuilder, parent: &Context) -> Span {
        let context = match &self.inner {
            Some(tracer) => parent.with_span(tracer.build_with_context(builder, parent)),
            None => parent.clone(),
        };
        Span { context, tracer: self.clone() }
    }
}

impl Span {
    /// A span below this one, starting now.
    pub fn child(&self, name: &'static str, kind: SpanKind) -> Span {
        self.tracer.start(SpanBuilder::from_name(name).with_kind(kind), &self.context)
    }

    /// A span below this one that has already run: recorded with the times it had.
    pub fn child_between(
        &self,
        name: &'static str,
        start: SystemTime,
        end: SystemTime,
        attributes: Vec<(&'static str, Value)>,
    ) {
        let Some(tracer) = &self.tracer.inner else {
            return;
        };
        let attributes = attributes.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Internal)
            .with_start_time(start)
            .with_attributes(attributes);
        tracer.build_with_context(builder, &self.context).end_with_timestamp(end);
    }

    /// Sets an attribute; names are in [`crate::names`]. The value is made either way: where that costs, ask
    /// [`Span::is_recorded`] first.
    pub fn set(&self, key: impl Into<opentelemetry::Key>, value: impl Into<Value>) {
        if self.is_recorded() {
            self.context.span().set_attribute(KeyValue::new(key.into(), value.into()));
        }
    }

    /// Records a moment inside the span.
    pub fn event(&self, name: &'static str) {
        if self.is_recorded() {
            self.context.span().add_event(name, Vec::new());
        }
    }

    /// Marks the span as failed.
    pub fn fail(&self, message: impl Into<String>) {
        if self.is_recorded() {
            self.context.span().set_status(Status::error(message.into()));
        }
    }

    /// Ends the span now; later calls change nothing.
    pub fn end(&self) {
        if self.is_recorded() {
            self.context.span().end();
        }
    }

    /// Writes `traceparent`, and `tracestate` where the client said one, so that the receiver continues this trace.
    pub fn inject(&self, headers: &mut HeaderMap) {
        TraceContextPropagator::new().inject_context(&self.context, &mut HeaderInjector(headers));
        // A line that says nothing takes a place among the lines that the receiver allows.
        if headers.get(TRACESTATE).is_some_and(HeaderValue::is_empty) {
            headers.remove(TRACESTATE);
        }
    }

    /// The trace's id as 32 hex digits, when there is a trace.
    pub fn trace_id(&self) -> Option<String> {
        let span = self.context.span();
        let id = span.span_context();
        id.is_valid().then(|| id.trace_id().to_string())
    }

    /// Whether what is set on it goes anywhere: false with telemetry off, for what is not sampled, and once it has
    /// ended. Worth asking before making many attributes.
    pub fn is_recorded(&self) -> bool {
        self.tracer.inner.is_some() && self.context.span().is_recording()
    }
}

/// A request's trace headers. Several `tracestate` lines are one list (RFC 9110, 5.3).
struct Incoming<'a> {
    headers: HeaderExtractor<'a>,
    tracestate: String,
}

impl Incoming<'_> {
    fn of(headers: &HeaderMap) -> Incoming<'_> {
        let lines = headers.get_all(TRACESTATE).iter().filter_map(|line| line.to_str().ok());
        Incoming { headers: HeaderExtractor(headers), tracestate: lines.collect::<Vec<_>>().join(",") }
    }
}

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACESTATE => Some(&self.tracestate),
            _ => self.headers.get(key),
        }
    }

    fn keys(&self) -> Vec<&str> {
        self.headers.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn without_a_tracer_the_clients_context_is_passed_on_unchanged() {
        let mut incoming = HeaderMap::new();
        incoming.insert("traceparent", PARENT.parse().unwrap());
        let span = Tracer::off().from_headers("x", SpanKind::Server, &incoming);
        let mut outgoing = HeaderMap::new();
        span.child("y", SpanKind::Client).inject(&mut outgoing);
        assert_eq!(outgoing["traceparent"], PARENT);
        assert_eq!(span.trace_id().as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
    }

    #[track_caller]
    fn check_tracestate(lines: &[&str], passed_on: &[&str]) {
        let mut incoming = HeaderMap::new();
        incoming.insert("traceparent", PARENT.parse().unwrap());
        for line in lines {
            incoming.append(TRACESTATE, line.parse().unwrap());
        }
        let mut outgoing = incoming.clone();
        Tracer::off().from_headers("x", SpanKind::Server, &incoming).inject(&mut outgoing);
        assert_eq!(outgoing.get_all(TRACESTATE).iter().collect::<Vec<_>>(), passed_on);
    }

    #[test]
    fn every_line_of_tracestate_is_passed_on_and_none_is_made_up() {
        check_tracestate(&["a=1,b=2"], &["a=1,b=2"]);
        check_tracestate(&["a=1", "b=2, c=3"], &["a=1,b=2,c=3"]);
        check_tracestate(&["", "a=1"], &["a=1"]);
        check_tracestate(&[""], &[]);
        check_tracestate(&[], &[]);
    }
}
