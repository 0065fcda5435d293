//! Every bound of the proxy, by name.

use dispatch::{BreakerRules, HedgeRules, RetryRules};
use serde::Deserialize;

/// Every queue, pool, body, retry and wait of the proxy is bounded by one of these.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a request's body; more is 413.
    pub body_bytes_max: usize,
    /// Milliseconds a client may take to send its body.
    pub body_ms_max: u64,
    /// Bytes of a request's head.
    pub header_bytes_max: usize,
    /// Header lines of a request.
    pub headers_max: usize,
    /// Milliseconds a client may take to send its head, TLS handshake included.
    pub header_ms_max: u64,
    /// Client connections on the data port.
    pub connections_max: usize,
    /// Threads that serve the data port; 0: one for each core.
    pub data_threads: usize,
    /// Requests in flight; more are 503.
    pub in_flight_max: usize,
    /// Requests in flight to one replica, each over a connection of its own.
    pub replica_in_flight_max: u32,
    /// Connections to one replica, idle and busy.
    pub replica_connections_max: usize,
    /// Milliseconds that a request waits for one of them.
    pub replica_wait_ms_max: u64,
    /// Requests on one connection of HTTP/2 to a replica.
    pub replica_streams_max: usize,
    /// Idle connections kept to one replica.
    pub replica_idle_max: usize,
    /// Milliseconds to connect to a replica, its TLS handshake included.
    pub connect_ms_max: u64,
    /// Milliseconds until a replica's answer must begin.
    pub answer_ms_max: u64,
    /// Milliseconds a replica may be silent in the middle of its answer, and a client may read nothing of what it is
    /// sent.
    pub silence_ms_max: u64,
    /// Milliseconds that neither side of a connection says anything that was switched to another protocol.
    pub upgrade_idle_ms_max: u64,
    /// Milliseconds a replica may be silent in the middle of a stream that another one could go on with.
    pub stall_ms_max: u64,
    /// Deaths of replicas that one stream survives.
    pub resumes_max: u32,
    /// Bytes kept of a stream's tokens or text, so that it can go on elsewhere; a longer one cannot.
    pub resume_bytes_max: usize,
    /// Failures in a row that open a replica's circuit breaker.
    pub breaker_failures_max: u32,
    /// Milliseconds that a breaker is open at first; twice as long after each failed trial.
    pub breaker_open_ms: u64,
    /// Milliseconds that a breaker is open at most.
    pub breaker_open_ms_max: u64,
    /// Milliseconds that a replica's 429 or 503 passes it over at most; a tenth where it names no time.
    pub busy_ms_max: u64,
    /// Share of the fleet that breakers may take out.
    pub ejection_percent_max: u32,
    /// A replica whose time to first token is this many times the fleet's median is taken out; 0: none is.
    pub ttft_outlier_times: u32,
    /// Tries after the first, as a share of the requests.
    pub retry_percent_max: u32,
    /// Tries after the first that there may be each second, however few requests there are.
    pub retry_per_second_least: u32,
    /// Requests that may be sent a second time while they wait for their answer, as a share; 0: none.
    pub hedge_percent_max: u32,
    /// Milliseconds that a request must have waited for that.
    pub hedge_ms_least: u64,
    /// Tries of one request, the first included.
    pub tries_max: u32,
    /// Requests that policies hold at one time; more are 503.
    pub queue_max: usize,
    /// Milliseconds a policy may hold a request.
    pub hold_ms_max: u64,
    /// Replicas of the fleet, those that are about to go included; more are not taken in.
    pub replicas_max: usize,
    /// Looks at replicas in a second, over all; where they are many, each is looked at less often.
    pub looks_per_second_max: u32,
    /// Milliseconds between two looks at a replica.
    pub poll_interval_ms: u64,
    /// Milliseconds one look at a replica may take.
    pub poll_ms_max: u64,
    /// Failed looks or requests in a row that make a replica unhealthy.
    pub unhealthy_after: u32,
    /// Bytes of an answer that are kept to read its usage from, and of one stream event.
    pub peek_bytes_max: usize,
    /// Decisions kept for the admin API.
    pub decisions_max: usize,
    /// Seconds of traffic kept for the admin API.
    pub traffic_seconds_max: usize,
    /// Slots in the chain.
    pub slots_max: usize,
    /// Versions kept of each slot, the active one included.
    pub policy_versions_max: usize,
    /// Acts kept of each slot's history.
    pub policy_history_max: usize,
    /// Bytes of a policy component.
    pub component_bytes_max: usize,
    /// Milliseconds that pulling a component from a registry may take.
    pub pull_ms_max: u64,
    /// Milliseconds one call of a policy may take.
    pub policy_call_ms_max: u32,
    /// Fuel of one call of a policy, beside its time; left out, fuel is not metered, which is faster.
    pub policy_fuel_max: Option<u64>,
    /// Events that wait for policies' observe hooks; more are dropped and counted.
    pub events_max: usize,
    /// Calls of policies that wait to be written into a recording; more are left out of it and counted.
    pub recording_queue_max: usize,
    /// Spans that wait for export; more are dropped and counted.
    pub spans_max: usize,
    /// Connections on the admin port.
    pub admin_connections_max: usize,
    /// Live streams on the admin port.
    pub admin_streams_max: usize,
    /// Milliseconds that requests in flight are given at shutdown.
    pub drain_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: 4 << 20,
            body_ms_max: 60_000,
            header_bytes_max: 64 << 10,
            headers_max: 100,
            header_ms_max: 10_000,
            connections_max: 8192,
            data_threads: 0,
            in_flight_max: 4096,
            replica_in_flight_max: 512,
            replica_connections_max: 1024,
            replica_wait_ms_max: 1000,
            replica_streams_max: 100,
            replica_idle_max: 64,
            connect_ms_max: 1000,
            answer_ms_max: 600_000,
            silence_ms_max: 120_000,
            upgrade_idle_ms_max: 300_000,
            stall_ms_max: 10_000,
            resumes_max: 3,
            resume_bytes_max: 256 << 10,
            breaker_failures_max: 5,
            breaker_open_ms: 1000,
            breaker_open_ms_max: 30_000,
            busy_ms_max: 5000,
            ejection_percent_max: 50,
            ttft_outlier_times: 10,
            retry_percent_max: 20,
            retry_per_second_least: 10,
            hedge_percent_max: 0,
            hedge_ms_least: 50,
            tries_max: 3,
            queue_max: 256,
            hold_ms_max: 10_000,
            replicas_max: 4096,
            looks_per_second_max: 2000,
            poll_interval_ms: 100,
            poll_ms_max: 1000,
            unhealthy_after: 2,
            peek_bytes_max: 1 << 20,
            decisions_max: 1000,
            traffic_seconds_max: 900,
            slots_max: 16,
            policy_versions_max: 8,
            policy_history_max: 50,
            component_bytes_max: 32 << 20,
            pull_ms_max: 30_000,
            policy_call_ms_max: 5,
            policy_fuel_max: None,
            events_max: 8192,
            recording_queue_max: 4096,
            spans_max: 8192,
            admin_connections_max: 256,
            admin_streams_max: 32,
            drain_ms_max: 10_000,
        }
    }
}

/// The longest wait: a week. Longer ones overflow clocks when they are added to a time.
const MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;
/// The most of anything that is counted. A semaphore has room for more, memory has not.
const COUNT_MAX: u64 = 1 << 24;
/// The most bytes of one thing that is kept in memory.
const BYTES_MAX: u64 = 4 << 30;

impl Limits {
    /// How many threads serve the data port.
    pub(crate) fn data_threads(&self) -> usize {
        match self.data_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// When a replica is taken out, and for how long.
    pub(crate) fn breaker(&self) -> BreakerRules {
        BreakerRules {
            failures_max: self.breaker_failures_max,
            open_ms: self.breaker_open_ms,
            open_ms_max: self.breaker_open_ms_max,
            busy_ms_max: self.busy_ms_max,
        }
    }

    /// How much is hedged.
    pub(crate) fn hedges(&self) -> HedgeRules {
        HedgeRules { percent_max: self.hedge_percent_max, ms_least: self.hedge_ms_least }
    }

    /// How many tries after the first there may be.
    pub(crate) fn retries(&self) -> RetryRules {
        RetryRules { percent_max: self.retry_percent_max, per_second_least: self.retry_per_second_least }
    }

    /// The first bound that cannot be used, and why.
    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        let outside = |&(_, value, least, most): &(_, u64, u64, u64)| !(least..=most).contains(&value);
        let (key, value, least, most) = self.ranges().into_iter().find(outside)?;
        let bound = if value < least { format!("the least is {least}") } else { format!("the most is {most}") };
        Some((key, format!("is {value}; {bound}")))
    }

    /// These bounds with what another configuration changes of them, and the keys of what it cannot: they size what
    /// was made at the start.
    pub(crate) fn renewed(&self, new: &Limits) -> (Limits, Vec<&'static str>) {
        let next = Limits {
            body_bytes_max: new.body_bytes_max,
            body_ms_max: new.body_ms_max,
            replica_in_flight_max: new.replica_in_flight_max,
            answer_ms_max: new.answer_ms_max,
            silence_ms_max: new.silence_ms_max,
            tries_max: new.tries_max,
            hold_ms_max: new.hold_ms_max,
            looks_per_second_max: new.looks_per_second_max,
            poll_interval_ms: new.poll_interval_ms,
            poll_ms_max: new.poll_ms_max,
            unhealthy_after: new.unhealthy_after,
            peek_bytes_max: new.peek_bytes_max,
            ..self.clone()
        };
        let pairs = next.ranges().into_iter().zip(new.ranges());
        let fixed = pairs.filter(|(kept, wanted)| kept.1 != wanted.1).map(|(kept, _)| kept.0).collect();
        (next, fixed)
    }

    /// Each bound's key and value, and the least and the most that it may be.
    fn ranges(&self) -> [(&'static str, u64, u64, u64); 54] {
        let Limits {
            body_bytes_max,
            body_ms_max,
            header_bytes_max,
            headers_max,
            header_ms_max,
            connections_max,
            data_threads,
            in_flight_max,
            replica_in_flight_max,
            replica_connections_max,
            replica_wait_ms_max,
            replica_streams_max,
            replica_idle_max,
            connect_ms_max,
            answer_ms_max,
            silence_ms_max,
            upgrade_idle_ms_max,
            stall_ms_max,
            resumes_max,
            resume_bytes_max,
            breaker_failures_max,
            breaker_open_ms,
            breaker_open_ms_max,
            busy_ms_max,
            ejection_percent_max,
            ttft_outlier_times,
            retry_percent_max,
            retry_per_second_least,
            hedge_percent_max,
            hedge_ms_least,
            tries_max,
            queue_max,
            hold_ms_max,
            replicas_max,
            looks_per_second_max,
            poll_interval_ms,
            poll_ms_max,
            unhealthy_after,
            peek_bytes_max,
            decisions_max,
            traffic_seconds_max,
            slots_max,
            policy_versions_max,
            policy_history_max,
            component_bytes_max,
            pull_ms_max,
            policy_call_ms_max,
            policy_fuel_max,
            events_max,
            recording_queue_max,
            spans_max,
            admin_connections_max,
            admin_streams_max,
            drain_ms_max,
        } = *self;
        [
            ("body_bytes_max", body_bytes_max as u64, 1, BYTES_MAX),
            ("body_ms_max", body_ms_max, 1, MS_MAX),
            // hyper refuses a smaller read buffer.
            ("header_bytes_max", header_bytes_max as u64, 8192, 1 << 24),
            // The `http` crate's map holds no more than 24,576.
            ("headers_max", headers_max as u64, 1, 16_384),
            ("header_ms_max", header_ms_max, 1, MS_MAX),
            ("connections_max", connections_max as u64, 1, COUNT_MAX),
            ("data_threads", data_threads as u64, 0, 1024),
            ("in_flight_max", in_flight_max as u64, 1, COUNT_MAX),
            ("replica_in_flight_max", replica_in_flight_max.into(), 1, COUNT_MAX),
            ("replica_connections_max", replica_connections_max as u64, 1, COUNT_MAX),
            ("replica_wait_ms_max", replica_wait_ms_max, 0, MS_MAX),
            // Each may have 64 KiB on the way, and HTTP/2 counts those in 31 bits.
            ("replica_streams_max", replica_streams_max as u64, 1, 32_767),
            ("replica_idle_max", replica_idle_max as u64, 0, COUNT_MAX),
            ("connect_ms_max", connect_ms_max, 1, MS_MAX),
            ("answer_ms_max", answer_ms_max, 1, MS_MAX),
            ("silence_ms_max", silence_ms_max, 1, MS_MAX),
            ("upgrade_idle_ms_max", upgrade_idle_ms_max, 1, MS_MAX),
            ("stall_ms_max", stall_ms_max, 1, MS_MAX),
            ("resumes_max", resumes_max.into(), 0, 1000),
            ("resume_bytes_max", resume_bytes_max as u64, 0, BYTES_MAX),
            ("breaker_failures_max", breaker_failures_max.into(), 1, COUNT_MAX),
            ("breaker_open_ms", breaker_open_ms, 1, MS_MAX),
            ("breaker_open_ms_max", breaker_open_ms_max, 1, MS_MAX),
            ("busy_ms_max", busy_ms_max, 0, MS_MAX),
            ("ejection_percent_max", ejection_percent_max.into(), 0, 100),
            ("ttft_outlier_times", ttft_outlier_times.into(), 0, COUNT_MAX),
            ("retry_percent_max", retry_percent_max.into(), 0, 100),
            ("retry_per_second_least", retry_per_second_least.into(), 0, COUNT_MAX),
            ("hedge_percent_max", hedge_percent_max.into(), 0, 100),
            ("hedge_ms_least", hedge_ms_least, 0, MS_MAX),
            ("tries_max", tries_max.into(), 1, 1000),
            ("queue_max", queue_max as u64, 0, COUNT_MAX),
            ("hold_ms_max", hold_ms_max, 0, MS_MAX),
            ("replicas_max", replicas_max as u64, 1, 65_536),
            ("looks_per_second_max", looks_per_second_max.into(), 1, 1_000_000),
            ("poll_interval_ms", poll_interval_ms, 1, MS_MAX),
            ("poll_ms_max", poll_ms_max, 1, MS_MAX),
            ("unhealthy_after", unhealthy_after.into(), 1, COUNT_MAX),
            ("peek_bytes_max", peek_bytes_max as u64, 0, BYTES_MAX),
            ("decisions_max", decisions_max as u64, 1, COUNT_MAX),
            ("traffic_seconds_max", traffic_seconds_max as u64, 1, COUNT_MAX),
            ("slots_max", slots_max as u64, 0, 1024),
            ("policy_versions_max", policy_versions_max as u64, 1, 1024),
            ("policy_history_max", policy_history_max as u64, 0, 10_000),
            ("component_bytes_max", component_bytes_max as u64, 0, BYTES_MAX),
            ("pull_ms_max", pull_ms_max, 1, MS_MAX),
            // An instance that is in a call serves nobody else meanwhile.
            ("policy_call_ms_max", policy_call_ms_max.into(), 1, 60_000),
            ("policy_fuel_max", policy_fuel_max.unwrap_or(1), 1, u64::MAX >> 1),
            ("events_max", events_max as u64, 1, COUNT_MAX),
            ("recording_queue_max", recording_queue_max as u64, 1, COUNT_MAX),
            ("spans_max", spans_max as u64, 1, COUNT_MAX),
            ("admin_connections_max", admin_connections_max as u64, 1, COUNT_MAX),
            ("admin_streams_max", admin_streams_max as u64, 0, COUNT_MAX),
            ("drain_ms_max", drain_ms_max, 0, MS_MAX),
        ]
    }
}
