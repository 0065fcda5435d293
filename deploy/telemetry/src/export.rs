//! Where spans go: a bounded queue, a background thread, an OTLP collector; and a count of what was lost on the way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanProcessor,
};
use thiserror::Error;

use crate::Tracer;

/// A queue bound that suits a busy proxy: some 8 MiB of spans.
pub const QUEUE_SPANS_MAX: usize = 8192;
const EXPORT_SPANS_MAX: usize = 512;
const EXPORT_INTERVAL: Duration = Duration::from_millis(500);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// How to reach the collector, and who we are to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Base URL, e.g. `http://127.0.0.1:4318`; `/v1/traces` is added for http.
    pub endpoint: String,
    /// The wire.
    pub protocol: Protocol,
    /// Share of new traces to record, 0 to 1; a client's sampled parent overrides it.
    pub sample_ratio: f64,
    /// `service.name`.
    pub service: String,
    /// More resource attributes, e.g. `cloud.region`.
    pub attributes: Vec<(String, String)>,
    /// Most spans that wait for export; more are dropped and counted. See [`QUEUE_SPANS_MAX`].
    pub queue_spans_max: usize,
}

/// The OTLP wire to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// http/protobuf, port 4318 by custom.
    Http,
    /// gRPC, port 4317 by custom.
    Grpc,
}

/// Why telemetry could not start.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The exporter refused its settings.
    #[error("cannot export traces to {endpoint}: {reason}; give a URL such as http://127.0.0.1:4318")]
    Exporter {
        /// What was given.
        endpoint: String,
        /// The exporter's words.
        reason: String,
    },
}

/// A running exporter. Keep it until the end, then [`Telemetry::shutdown`].
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
    tracer: Tracer,
    counts: Arc<Counts>,
}

/// Every span ends in exactly one of these, or still waits.
#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicU64,
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Telemetry {
    /// No export; spans cost nothing.
    pub fn off() -> Telemetry {
        Telemetry { provider: None, tracer: Tracer::off(), counts: Arc::default() }
    }

    /// Starts exporting. For gRPC, call it inside a tokio runtime.
    pub fn start(config: &Config) -> Result<Telemetry, ConfigError> {
        choose_cryptography();
        let counts = Arc::<Counts>::default();
        let exporter = CountingExporter { inner: exporter(config)?, counts: counts.clone() };
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(config.queue_spans_max)
            .with_max_export_batch_size(EXPORT_SPANS_MAX.min(config.queue_spans_max))
            .with_scheduled_delay(EXPORT_INTERVAL)
            .build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batch).build();
        let resource = Resource::builder()
            .with_service_name(config.service.clone())
            .with_attributes(config.attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio))))
            .with_span_processor(CountingProcessor {
                inner: batches,
                counts: counts.clone(),
                queue_spans_max: config.queue_spans_max as u64,
            })
            .build();
        let tracer = Tracer::over(provider.tracer("headworks"));
        Ok(Telemetry { provider: Some(provider), tracer, counts })
    }

    /// What starts spans.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Reads how many spans were lost so far: the queue was full, or the collector refused or did not answer.
    pub fn dropped_total(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let counts = self.counts.clone();
        move || counts.dropped.load(Ordering::Relaxed)
    }

    /// Reads how many spans the collector took.
    pub fn exported_total(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let counts = self.counts.clone();
        move || counts.exported.load(Ordering::Relaxed)
    }

    /// Sends what waits, for at most `limit`. Blocks: call it off the async threads.
    pub fn shutdown(&self, limit: Duration) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown_with_timeout(limit)
        {
            tracing::warn!(%error, "traces were not flushed before exit");
        }
    }
}

/// The exporter's HTTP client takes whatever cryptography its process has chosen, and will not start without.
fn choose_cryptography() {
    // Chosen already is as good: there is only one to choose from.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn exporter(config: &Config) -> Result<SpanExporter, ConfigError> {
    let endpoint = config.endpoint.trim_end_matches('/');
    let built = match config.protocol {
        // reqwest's blocking client must be made outside an async context.
        Protocol::Http => std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    SpanExporter::builder()
                        .with_http()
                        .with_endpoint(format!("{endpoint}/v1/traces"))
                        .with_timeout(EXPORT_TIMEOUT)
                        .build()
                })
                .join()
                .expect("building an exporter does not panic")
        }),
        Protocol::Grpc => {
            SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(EXPORT_TIMEOUT).build()
        }
    };
    built.map_err(|error| ConfigError::Exporter { endpoint: config.endpoint.clone(), reason: error.to_string() })
}

/// Counts what the collector took and what it did not.
struct CountingExporter {
    inner: SpanExporter,
    counts: Arc<Counts>,
}

impl fmt::Debug for CountingExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountingExporter")
    }
}

impl opentelemetry_sdk::trace::SpanExporter for CountingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.inner.export(batch).await;
        self.counts.waiting.fetch_sub(spans, Ordering::Relaxed);
        let end = if result.is_ok() { &self.counts.exported } else { &self.counts.dropped };
        end.fetch_add(spans, Ordering::Relaxed);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts what the queue had no room for: the batch processor drops silently.
#[derive(Debug)]
struct CountingProcessor {
    inner: BatchSpanProcessor,
    counts: Arc<Counts>,
    queue_spans_max: u64,
}

impl SpanProcessor for CountingProcessor {
    fn on_start(&self, span: &mut opentelemetry_sdk::trace::Span, context: &opentelemetry::Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let waiting = self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting >= self.queue_spans_max {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use http::HeaderMap;

    use super::*;
    use crate::SpanKind;

    fn nobody_listens() -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        format!("http://{address}")
    }

    #[test]
    fn with_the_collector_down_every_span_ends_as_dropped() {
        let telemetry = Telemetry::start(&Config {
            endpoint: nobody_listens(),
            protocol: Protocol::Http,
            sample_ratio: 1.0,
            service: "test".to_owned(),
            attributes: Vec::new(),
            queue_spans_max: 16,
        })
        .unwrap();
        let (dropped, exported) = (telemetry.dropped_total(), telemetry.exported_total());
        // More than the queue holds: some are refused at its door, the rest by the dead collector.
        let spans = 64;
        for _ in 0..spans {
            telemetry.tracer().from_headers("x", SpanKind::Server, &HeaderMap::new()).end();
        }
        telemetry.shutdown(Duration::from_secs(30));
        assert_eq!((dropped(), exported()), (spans, 0));
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_refused_with_advice() {
        let refused = Telemetry::start(&Config {
            endpoint: "not a url".to_owned(),
            protocol: Protocol::Http,
            sample_ratio: 1.0,
            service: "test".to_owned(),
            attributes: Vec::new(),
            queue_spans_max: 16,
        });
        let error = refused.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("give a URL such as http://127.0.0.1:4318"), "{error}");
    }
}
