//! Every bound of the proxy, by name.

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
    /// Requests in flight; more are 503.
    pub in_flight_max: usize,
    /// Requests in flight to one replica, each over a connection of its own.
    pub replica_in_flight_max: u32,
    /// Idle connections kept to one replica.
    pub replica_idle_max: usize,
    /// Milliseconds to connect to a replica.
    pub connect_ms_max: u64,
    /// Milliseconds until a replica's answer must begin.
    pub answer_ms_max: u64,
    /// Milliseconds a replica may be silent in the middle of its answer, and a client may read nothing of what it is
    /// sent.
    pub silence_ms_max: u64,
    /// Tries of one request, the first included.
    pub tries_max: u32,
    /// Requests that policies hold at one time; more are 503.
    pub queue_max: usize,
    /// Milliseconds a policy may hold a request.
    pub hold_ms_max: u64,
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
    /// Bytes of a policy component.
    pub component_bytes_max: usize,
    /// Milliseconds one call of a policy may take.
    pub policy_call_ms_max: u32,
    /// Events that wait for policies' observe hooks; more are dropped and counted.
    pub events_max: usize,
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
            in_flight_max: 4096,
            replica_in_flight_max: 512,
            replica_idle_max: 64,
            connect_ms_max: 1000,
            answer_ms_max: 600_000,
            silence_ms_max: 120_000,
            tries_max: 3,
            queue_max: 256,
            hold_ms_max: 10_000,
            poll_interval_ms: 100,
            poll_ms_max: 1000,
            unhealthy_after: 2,
            peek_bytes_max: 1 << 20,
            decisions_max: 1000,
            traffic_seconds_max: 900,
            slots_max: 16,
            policy_versions_max: 8,
            component_bytes_max: 16 << 20,
            policy_call_ms_max: 5,
            events_max: 8192,
            spans_max: 8192,
            admin_connections_max: 256,
            admin_streams_max: 32,
            drain_ms_max: 10_000,
        }
    }
}

/// hyper refuses a smaller read buffer than this.
const HEADER_BYTES_MIN: usize = 8192;

impl Limits {
    /// The first bound that cannot be used, and why.
    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        if self.header_bytes_max < HEADER_BYTES_MIN {
            return Some((
                "header_bytes_max",
                format!("is {}; the least is {HEADER_BYTES_MIN}", self.header_bytes_max),
            ));
        }
        let must_be_positive = [
            ("body_bytes_max", self.body_bytes_max as u64),
            ("body_ms_max", self.body_ms_max),
            ("headers_max", self.headers_max as u64),
            ("header_ms_max", self.header_ms_max),
            ("connections_max", self.connections_max as u64),
            ("in_flight_max", self.in_flight_max as u64),
            ("replica_in_flight_max", self.replica_in_flight_max.into()),
            ("connect_ms_max", self.connect_ms_max),
            ("answer_ms_max", self.answer_ms_max),
            ("silence_ms_max", self.silence_ms_max),
            ("tries_max", self.tries_max.into()),
            ("poll_interval_ms", self.poll_interval_ms),
            ("poll_ms_max", self.poll_ms_max),
            ("unhealthy_after", self.unhealthy_after.into()),
            ("decisions_max", self.decisions_max as u64),
            ("traffic_seconds_max", self.traffic_seconds_max as u64),
            ("policy_versions_max", self.policy_versions_max as u64),
            ("policy_call_ms_max", self.policy_call_ms_max.into()),
            ("events_max", self.events_max as u64),
            ("spans_max", self.spans_max as u64),
            ("admin_connections_max", self.admin_connections_max as u64),
        ];
        let zero = must_be_positive.into_iter().find(|(_, value)| *value == 0);
        zero.map(|(key, _)| (key, "is 0; the least is 1".to_owned()))
    }
}
