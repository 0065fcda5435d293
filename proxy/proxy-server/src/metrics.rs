//! The numbers of `/metrics`: what passes, how fast, and how near each bound is.

mod slots;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use dispatch::TenantHeld;
use policy_api::Health;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::admin::breaker_word;
use crate::exchange::Outcome;
use crate::fleet::Replica;
use crate::proxy::Proxy;
use crate::traffic::Sample;
use slots::SlotGauges;

/// Everything that is counted as it happens; gauges are read when asked for.
pub(crate) struct Metrics {
    registry: Registry,
    requests: ByWord<5>,
    tokens: ByWord<3>,
    ttft: Histogram,
    tpot: Histogram,
    e2e: Histogram,
    pub decide: Histogram,
    pub retries: IntCounter,
    pub retries_denied: IntCounter,
    pub hedges: IntCounterVec,
    pub midstream_deaths: IntCounter,
    pub resumes: IntCounterVec,
    pub policy_faults: IntCounterVec,
    pub policy_swaps: IntCounterVec,
    pub reloads: IntCounterVec,
    pub policy_counts: IntCounterVec,
    pub policy_gauges: prometheus::GaugeVec,
    pub events_dropped: IntCounter,
    pub handshakes_refused: IntCounterVec,
    pub slow_heads: IntCounterVec,
    pub certificate_reloads: IntCounterVec,
    gauges: Gauges,
}

struct Gauges {
    in_flight: IntGauge,
    in_flight_max: IntGauge,
    queue: IntGauge,
    queue_max: IntGauge,
    queue_waiting: IntGaugeVec,
    queue_oldest: IntGaugeVec,
    replicas: IntGaugeVec,
    breakers: IntGaugeVec,
    replica_in_flight: IntGaugeVec,
    replica_in_flight_max: IntGauge,
    replica_connections: IntGaugeVec,
    replica_connections_max: IntGauge,
    replica_waiting: IntGaugeVec,
    policy_swapping: IntGauge,
    policy_slots: IntGauge,
    policy_slots_max: IntGauge,
    slots: SlotGauges,
    decisions: IntGauge,
    decisions_max: IntGauge,
    admin_streams: IntGauge,
    admin_streams_max: IntGauge,
    connections: IntGaugeVec,
    connections_max: IntGaugeVec,
    events: IntGauge,
    events_max: IntGauge,
    recording_queue: IntGauge,
    recording_queue_max: IntGauge,
    recording_bytes: IntGauge,
    recording_bytes_max: IntGauge,
    recording_dropped: IntGauge,
    spans_max: IntGauge,
    spans: Mutex<SpanCounts>,
}

/// Counters of one label's words, each looked up once.
struct ByWord<const N: usize> {
    all: IntCounterVec,
    each: [OnceLock<IntCounter>; N],
}

impl<const N: usize> ByWord<N> {
    fn of(all: IntCounterVec) -> ByWord<N> {
        ByWord { all, each: [const { OnceLock::new() }; N] }
    }

    /// The counter of a word, which has this number among them.
    fn get(&self, index: usize, word: &str) -> &IntCounter {
        self.each[index].get_or_init(|| self.all.with_label_values(&[word]))
    }
}

/// Counted elsewhere; brought up to date when read.
struct SpanCounts {
    dropped: IntCounter,
    exported: IntCounter,
}

/// Seconds; from a cached first token to a long answer.
const LATENCY_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Seconds; policies decide in microseconds.
const DECIDE_BUCKETS: [f64; 12] = [5e-7, 1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3];

/// Makes metrics and registers them; every name begins with `headworks_proxy_`.
#[derive(Default)]
struct Maker {
    registry: Registry,
    /// What docs/metrics.md must tell of.
    #[cfg(test)]
    made: Mutex<Vec<tests::Made>>,
}

impl Maker {
    fn keep<M: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<M>) -> M {
        let metric = made.expect("the names and labels below are well formed");
        #[cfg(test)]
        self.note(&metric);
        self.registry.register(Box::new(metric.clone())).expect("the names below are all different");
        metric
    }

    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(format!("headworks_proxy_{name}"), help)
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::with_opts(Self::opts(name, help)))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.keep(IntCounterVec::new(Self::opts(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::with_opts(Self::opts(name, help)))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(Self::opts(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::from(Self::opts(name, help)).buckets(buckets.to_vec());
        self.keep(Histogram::with_opts(opts))
    }
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics::made_by(&Maker::default())
    }

    fn made_by(make: &Maker) -> Metrics {
        Metrics {
            requests: ByWord::of(make.counters(
                "requests_total",
                "Requests of the data port by how they ended.",
                &["outcome"],
            )),
            tokens: ByWord::of(make.counters(
                "tokens_total",
                "Tokens of all requests, as replicas counted them, else as events passed.",
                &["kind"],
            )),
            ttft: make.histogram("ttft_seconds", "Time to the first output of finished streams.", &LATENCY_BUCKETS),
            tpot: make.histogram(
                "tpot_seconds",
                "Time per output token of finished streams after the first.",
                &LATENCY_BUCKETS,
            ),
            e2e: make.histogram("e2e_seconds", "Time of a finished request from head to last byte.", &LATENCY_BUCKETS),
            decide: make.histogram("decide_seconds", "Time of one decision of the policy chain.", &DECIDE_BUCKETS),
            retries: make.counter("retries_total", "Tries after the first."),
            hedges: make.counters(
                "hedges_total",
                "Requests that were sent to a second replica, by who answered first.",
                &["first"],
            ),
            retries_denied: make
                .counter("retries_denied_total", "Tries after the first that the budget had no room for."),
            midstream_deaths: make.counter("midstream_deaths_total", "Answers that replicas broke off."),
            resumes: make.counters(
                "resumes_total",
                "Streams whose replica died, by what became of them: resumed, or why not.",
                &["result"],
            ),
            policy_faults: make.counters("policy_faults_total", "Policies that could not answer.", &["slot"]),
            reloads: make.counters("config_reloads_total", "Reloads of the configuration by result.", &["result"]),
            policy_swaps: make.counters("policy_swaps_total", "New policy versions by result.", &["slot", "result"]),
            policy_counts: make.counters("policy_count_total", "Counters that policies keep.", &["slot", "name"]),
            policy_gauges: make.keep(prometheus::GaugeVec::new(
                Maker::opts("policy_gauge", "Gauges that policies keep."),
                &["slot", "name"],
            )),
            events_dropped: make
                .counter("events_dropped_total", "Events that policies were not told for lack of room."),
            handshakes_refused: make.counters(
                "tls_handshakes_refused_total",
                "TLS handshakes of clients that came to nothing, by port and reason.",
                &["port", "why"],
            ),
            slow_heads: make.counters(
                "slow_heads_total",
                "Connections whose request's head took too long, by port.",
                &["port"],
            ),
            certificate_reloads: make.counters(
                "certificate_reloads_total",
                "Readings of certificates and keys after the first, by result.",
                &["result"],
            ),
            gauges: Gauges::new(make),
            registry: make.registry.clone(),
        }
    }

    /// Counts a request that has ended.
    pub fn count(&self, sample: &Sample) {
        let Sample { outcome, e2e, ttft, tpot, usage, decide_us: _ } = sample;
        self.requests.get(*outcome as usize, outcome.word()).inc();
        let kinds = [("prompt", usage.prompt_tokens), ("cached", usage.cached_tokens), ("output", usage.output_tokens)];
        for (index, (kind, tokens)) in kinds.into_iter().enumerate() {
            self.tokens.get(index, kind).inc_by(tokens.into());
        }
        // A refusal or a client that left says nothing of how fast answers are.
        if *outcome != Outcome::Finished {
            return;
        }
        self.e2e.observe(e2e.as_secs_f64());
        ttft.iter().for_each(|ttft| self.ttft.observe(ttft.as_secs_f64()));
        tpot.iter().for_each(|tpot| self.tpot.observe(tpot.as_secs_f64()));
    }

    /// Prometheus text.
    pub fn text(&self, proxy: &Proxy) -> Vec<u8> {
        self.gauges.read(proxy);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing to memory cannot fail");
        text
    }

    /// Shows no more of how full a slot is that is gone. What was counted stays.
    pub fn forget_slot(&self, slot: &str) {
        self.gauges.slots.forget(slot);
    }
}

impl Gauges {
    fn new(make: &Maker) -> Gauges {
        Gauges {
            in_flight: make.gauge("in_flight", "Requests in flight."),
            in_flight_max: make.gauge("in_flight_max", "Most requests in flight."),
            queue: make.gauge("queue", "Requests that policies hold."),
            queue_max: make.gauge("queue_max", "Most requests that policies may hold."),
            queue_waiting: make.gauges("queue_waiting", "Requests that policies hold, by tenant.", &["tenant"]),
            queue_oldest: make.gauges(
                "queue_oldest_ms",
                "How long the oldest held request of a tenant has waited.",
                &["tenant"],
            ),
            replicas: make.gauges("replicas", "Replicas by health.", &["health"]),
            breakers: make.gauges("breakers", "Replicas by how their circuit breaker stands.", &["state"]),
            replica_in_flight: make.gauges("replica_in_flight", "Requests in flight to a replica.", &["replica"]),
            replica_in_flight_max: make.gauge("replica_in_flight_max", "Most requests in flight to one replica."),
            replica_connections: make.gauges(
                "replica_connections",
                "Connections to a replica for requests, idle and busy.",
                &["replica"],
            ),
            replica_connections_max: make.gauge("replica_connections_max", "Most connections to one replica."),
            replica_waiting: make.gauges(
                "replica_waiting",
                "Requests that wait for a connection to a replica.",
                &["replica"],
            ),
            policy_swapping: make
                .gauge("policy_swapping", "Components being loaded into a slot; at most one at a time."),
            policy_slots: make.gauge("policy_slots", "Slots in the policy chain."),
            policy_slots_max: make.gauge("policy_slots_max", "Most slots in the policy chain."),
            slots: SlotGauges::new(make),
            decisions: make.gauge("decisions_kept", "Decisions kept for the admin API."),
            decisions_max: make.gauge("decisions_kept_max", "Most decisions kept for the admin API."),
            admin_streams: make.gauge("admin_streams", "Live streams of the admin port."),
            admin_streams_max: make.gauge("admin_streams_max", "Most live streams of the admin port."),
            connections: make.gauges("connections", "Connections by port.", &["port"]),
            connections_max: make.gauges("connections_max", "Most connections by port.", &["port"]),
            events: make.gauge("events_waiting", "Events that wait for policies' observe hooks."),
            events_max: make.gauge("events_waiting_max", "Most events that may wait."),
            recording_queue: make.gauge("recording_waiting", "Calls of policies that wait to be recorded."),
            recording_queue_max: make
                .gauge("recording_waiting_max", "Most calls that may wait to be recorded; more are left out."),
            recording_bytes: make.gauge("recording_bytes", "Bytes of the recording, or of the last one."),
            recording_bytes_max: make.gauge("recording_bytes_max", "Most bytes of a recording."),
            recording_dropped: make.gauge("recording_dropped", "Calls that are missing in it."),
            spans_max: make.gauge("spans_waiting_max", "Most spans that may wait for export; more are dropped."),
            spans: Mutex::new(SpanCounts {
                dropped: make.counter("spans_dropped_total", "Spans that were not exported."),
                exported: make.counter("spans_exported_total", "Spans that the collector took."),
            }),
        }
    }

    fn read(&self, proxy: &Proxy) {
        let limits = &proxy.limits;
        self.in_flight.set(proxy.in_flight_now().into());
        self.in_flight_max.set(limits.in_flight_max as i64);
        self.queue.set(proxy.held().into());
        self.queue_max.set(limits.queue_max as i64);
        // Only tenants that wait now are shown.
        self.queue_waiting.reset();
        self.queue_oldest.reset();
        for TenantHeld { tenant, waiting, oldest_ms, .. } in proxy.hold.now().tenants {
            let waited_ms = proxy.clock.now_ms().saturating_sub(oldest_ms);
            self.queue_waiting.with_label_values(&[&tenant]).set(waiting.into());
            self.queue_oldest.with_label_values(&[&tenant]).set(waited_ms as i64);
        }
        for (health, word) in
            [(Health::Healthy, "healthy"), (Health::Unhealthy, "unhealthy"), (Health::Unknown, "unknown")]
        {
            let count = proxy.fleet.replicas().iter().filter(|replica| replica.reading().health == health).count();
            self.replicas.with_label_values(&[word]).set(count as i64);
        }
        self.replica_in_flight.reset();
        let replicas = proxy.fleet.replicas();
        let now_ms = proxy.clock.now_ms();
        for word in ["closed", "open", "half_open", "busy"] {
            let stands = |replica: &&Arc<Replica>| breaker_word(replica.standing(now_ms)) == word;
            self.breakers.with_label_values(&[word]).set(replicas.iter().filter(stands).count() as i64);
        }
        self.replica_connections.reset();
        self.replica_waiting.reset();
        for replica in replicas.iter() {
            let (of, requests) = ([replica.name.as_str()], &replica.link.requests);
            self.replica_in_flight.with_label_values(&of).set(replica.in_flight().into());
            self.replica_connections.with_label_values(&of).set(requests.connections() as i64);
            self.replica_waiting.with_label_values(&of).set(requests.waiting() as i64);
        }
        self.replica_connections_max.set(limits.replica_connections_max as i64);
        self.replica_in_flight_max.set(limits.replica_in_flight_max.into());
        self.policy_swapping.set(proxy.policies.is_swapping().into());
        self.policy_slots.set(proxy.policies.chain().stages().len() as i64);
        self.policy_slots_max.set(limits.slots_max as i64);
        self.slots.read(&proxy.policies);
        self.decisions.set(proxy.decisions.len() as i64);
        self.decisions_max.set(limits.decisions_max as i64);
        self.admin_streams.set((limits.admin_streams_max - proxy.admin_streams.available_permits()) as i64);
        self.admin_streams_max.set(limits.admin_streams_max as i64);
        for (port, room, most) in [
            ("data", &proxy.connections, limits.connections_max),
            ("admin", &proxy.admin_connections, limits.admin_connections_max),
        ] {
            self.connections.with_label_values(&[port]).set((most - room.available_permits()) as i64);
            self.connections_max.with_label_values(&[port]).set(most as i64);
        }
        self.events.set(proxy.observer.waiting() as i64);
        self.events_max.set(limits.events_max as i64);
        let recording = proxy.recorder.progress();
        self.recording_queue.set(proxy.recorder.waiting() as i64);
        self.recording_queue_max.set(limits.recording_queue_max as i64);
        self.recording_bytes.set(recording.bytes as i64);
        self.recording_bytes_max.set(recording.bytes_max as i64);
        self.recording_dropped.set(recording.dropped as i64);
        self.spans_max.set(limits.spans_max as i64);
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.dropped.inc_by((proxy.spans.dropped_total)().saturating_sub(spans.dropped.get()));
        spans.exported.inc_by((proxy.spans.exported_total)().saturating_sub(spans.exported.get()));
    }
}
