//! The engine in numbers, as Prometheus reads them: what happens, and how near every bound is.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::Config;
use crate::driver::View;

/// Everything `/metrics` shows.
pub(crate) struct Metrics {
    registry: Registry,
    pub requests_total: IntCounterVec,
    pub output_tokens_total: IntCounter,
    pub queue_seconds: Histogram,
    pub ttft_seconds: Histogram,
    pub tpot_seconds: Histogram,
    pub e2e_seconds: Histogram,
    pub step_seconds: Histogram,
    pub body_bytes_largest: IntGauge,
    pub sequence_tokens_largest: IntGauge,
    totals: Totals,
    levels: Levels,
}

/// Counted elsewhere, copied at every scrape.
struct Totals {
    prompt_tokens: IntCounter,
    cached_tokens: IntCounter,
    steps: IntCounter,
    preemptions: IntCounter,
    evictions: IntCounter,
    spans_dropped: IntCounter,
}

/// Read at every scrape.
struct Levels {
    running: IntGauge,
    waiting: IntGauge,
    inbox: IntGauge,
    step_tokens: IntGauge,
    kv_blocks_used: IntGauge,
    kv_blocks_cached: IntGauge,
    connections: IntGauge,
    requests_in_flight: IntGauge,
    tokenizing: IntGauge,
}

/// What the server knows at the moment of a scrape.
pub(crate) struct Reading {
    pub view: View,
    pub inbox: usize,
    pub connections: usize,
    pub requests_in_flight: usize,
    pub tokenizing: usize,
    pub spans_dropped: u64,
}

const TOKEN_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
const REQUEST_SECONDS: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

impl Metrics {
    /// Registers all of them, and writes down the bounds, which never change.
    pub fn new(config: &Config, context_tokens_max: u32) -> Metrics {
        let registry = Registry::new();
        let make = Make(&registry);
        make.bound("running_max", "Most requests in the running batch.", config.running_max as usize);
        make.bound("waiting_max", "Most requests that wait for the batch.", config.waiting_max as usize);
        make.bound("inbox_max", "Most requests on their way to the driver.", config.inbox_max as usize);
        make.bound("step_tokens_max", "Most tokens one step computes.", config.step_tokens_max as usize);
        make.bound("kv_blocks_total", "KV blocks in all.", config.kv_blocks as usize);
        make.bound("connections_max", "Most open connections.", config.connections_max);
        make.bound("requests_in_flight_max", "Most requests in flight.", config.requests_max);
        make.bound("tokenizing_max", "Most prompts tokenised at once.", config.tokenize_max);
        make.bound("body_bytes_max", "Largest request body taken.", config.body_bytes_max);
        make.bound("context_tokens_max", "Longest prompt plus output.", context_tokens_max as usize);
        Metrics {
            requests_total: make.counters("requests_total", "Requests by how they ended.", &["endpoint", "outcome"]),
            output_tokens_total: make.counter("output_tokens_total", "Tokens sampled."),
            queue_seconds: make.histogram(
                "queue_seconds",
                "From a request's arrival to its first step.",
                REQUEST_SECONDS,
            ),
            ttft_seconds: make.histogram(
                "ttft_seconds",
                "From a request's arrival to its first token.",
                REQUEST_SECONDS,
            ),
            tpot_seconds: make.histogram(
                "tpot_seconds",
                "Between tokens after the first, a request's mean.",
                TOKEN_SECONDS,
            ),
            e2e_seconds: make.histogram("e2e_seconds", "From a request's arrival to its last token.", REQUEST_SECONDS),
            step_seconds: make.histogram("step_seconds", "One step of the driver.", TOKEN_SECONDS),
            body_bytes_largest: make.gauge("body_bytes_largest", "Largest request body so far."),
            sequence_tokens_largest: make
                .gauge("sequence_tokens_largest", "Longest prompt plus output allowed to a request so far."),
            totals: Totals::new(&make),
            levels: Levels::new(&make),
            registry,
        }
    }

    /// The Prometheus text.
    pub fn render(&self, reading: Reading) -> String {
        self.totals.read(&reading);
        self.levels.read(&reading);
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("every metric has a name and a value")
    }
}

impl Totals {
    fn new(make: &Make<'_>) -> Totals {
        Totals {
            prompt_tokens: make.counter("prompt_tokens_total", "Prompt tokens of requests that began to run."),
            cached_tokens: make.counter("cached_tokens_total", "Prompt tokens answered from the prefix cache."),
            steps: make.counter("steps_total", "Steps computed."),
            preemptions: make.counter("preemptions_total", "Requests that gave up their KV blocks to older ones."),
            evictions: make.counter("evictions_total", "Cached KV blocks overwritten."),
            spans_dropped: make
                .counter("spans_dropped_total", "Trace spans lost: the queue was full or the collector refused."),
        }
    }

    fn read(&self, reading: &Reading) {
        let stats = &reading.view.stats;
        catch_up(&self.prompt_tokens, stats.prompt_tokens_total);
        catch_up(&self.cached_tokens, stats.cached_tokens_total);
        catch_up(&self.steps, stats.steps_total);
        catch_up(&self.preemptions, stats.preemptions_total);
        catch_up(&self.evictions, stats.evictions_total);
        catch_up(&self.spans_dropped, reading.spans_dropped);
    }
}

impl Levels {
    fn new(make: &Make<'_>) -> Levels {
        Levels {
            running: make.gauge("running", "Requests in the running batch."),
            waiting: make.gauge("waiting", "Requests that wait for the batch."),
            inbox: make.gauge("inbox", "Requests on their way to the driver."),
            step_tokens: make.gauge("step_tokens", "Tokens of the latest step."),
            kv_blocks_used: make.gauge("kv_blocks_used", "KV blocks that requests hold."),
            kv_blocks_cached: make.gauge("kv_blocks_cached", "KV blocks the prefix cache can hand out."),
            connections: make.gauge("connections", "Open connections."),
            requests_in_flight: make.gauge("requests_in_flight", "Requests being read, run or answered."),
            tokenizing: make.gauge("tokenizing", "Prompts being tokenised."),
        }
    }

    fn read(&self, reading: &Reading) {
        let Reading { view, inbox, connections, requests_in_flight, tokenizing, spans_dropped: _ } = reading;
        self.running.set(view.stats.running.into());
        self.waiting.set(view.stats.waiting.into());
        self.step_tokens.set(view.step_tokens.into());
        self.kv_blocks_used.set(view.stats.blocks_used.into());
        self.kv_blocks_cached.set(view.stats.blocks_cached.into());
        self.inbox.set(level(*inbox));
        self.connections.set(level(*connections));
        self.requests_in_flight.set(level(*requests_in_flight));
        self.tokenizing.set(level(*tokenizing));
    }
}

/// Raises a counter to a total counted elsewhere. Two scrapes at once may read different totals: it never goes back.
fn catch_up(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// Raises a gauge to a new largest.
pub(crate) fn raise(gauge: &IntGauge, value: usize) {
    if level(value) > gauge.get() {
        gauge.set(level(value));
    }
}

fn level(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Makes and registers metrics under the engine's prefix.
struct Make<'a>(&'a Registry);

impl Make<'_> {
    fn register<C: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("names and labels are constants of this file");
        self.0.register(Box::new(collector.clone())).expect("every name is used once");
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(full(name), help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(full(name), help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(full(name), help))
    }

    fn bound(&self, name: &str, help: &str, value: usize) {
        self.gauge(name, help).set(level(value));
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(full(name), help).buckets(buckets.to_vec())))
    }
}

fn full(name: &str) -> String {
    format!("headworks_engine_{name}")
}
