//! Spans over OTLP with W3C propagation: the one door to OpenTelemetry, for the proxy and the engine.
//!
//! Nothing here may slow a request: spans go to a bounded queue, a background thread exports them, and what cannot be
//! exported is counted ([`Telemetry::dropped_total`]) and forgotten.

mod export;
pub mod names;
mod span;

pub use export::{Config, ConfigError, Protocol, QUEUE_SPANS_MAX, Telemetry};
pub use span::{Span, SpanKind, Tracer, Value};
