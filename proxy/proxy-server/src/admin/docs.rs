//! The admin API's documents, as docs/admin-api.md writes them.

mod slot;

use dispatch::{Standing, TenantHeld};
use policy_api::Health;
use serde::{Deserialize, Serialize};

use crate::fleet::{Peer, Replica};
use crate::hold::QueueNow;
use crate::proxy::Proxy;
use crate::traffic::{Point, Quantiles};

pub(super) use slot::{PoliciesDoc, SlotDoc, hook_name};

#[derive(Serialize)]
pub(super) struct FleetDoc {
    proxy: ProxyDoc,
    regions: Vec<RegionDoc>,
}

#[derive(Serialize)]
struct ProxyDoc {
    region: String,
    version: &'static str,
    started_unix_ms: u64,
    data_url: String,
}

/// A region, its own proxy's or another's. Read by peers too, which may be newer or older.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RegionDoc {
    id: u32,
    pub name: String,
    local: bool,
    reachable: bool,
    error: Option<String>,
    rtt_us: u32,
    age_ms: Option<u32>,
    pub queue: u32,
    pub available: u32,
    pub replicas: Vec<ReplicaDoc>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReplicaDoc {
    id: u32,
    name: String,
    url: String,
    kind: String,
    source: String,
    health: String,
    health_error: Option<String>,
    load_error: Option<String>,
    breaker: String,
    draining: bool,
    pub models: Vec<String>,
    in_flight: u32,
    running: u32,
    waiting: u32,
    kv_blocks_used: u32,
    kv_blocks_total: u32,
    prefix_hit_permille: u32,
    ttft_us: u32,
    tpot_us: u32,
    age_ms: Option<u32>,
    requests_total: u64,
    failures_total: u64,
}

impl FleetDoc {
    pub fn of(proxy: &Proxy) -> FleetDoc {
        let own = RegionDoc::own(proxy);
        let others = proxy.fleet.peers.iter().map(|peer| RegionDoc::of_peer(peer, proxy.clock.now_ms()));
        FleetDoc {
            proxy: ProxyDoc {
                region: proxy.region.clone(),
                version: env!("CARGO_PKG_VERSION"),
                started_unix_ms: proxy.clock.start_unix_ms(),
                data_url: proxy.data_url.to_string(),
            },
            regions: std::iter::once(own).chain(others).collect(),
        }
    }
}

impl RegionDoc {
    /// This proxy's own region: the replicas it sends to.
    pub fn own(proxy: &Proxy) -> RegionDoc {
        let now_ms = proxy.clock.now_ms();
        let replicas: Vec<ReplicaDoc> =
            proxy.fleet.replicas().iter().map(|replica| ReplicaDoc::of(replica, now_ms)).collect();
        RegionDoc {
            id: 0,
            name: proxy.region.clone(),
            local: true,
            reachable: true,
            error: None,
            rtt_us: 0,
            age_ms: Some(0),
            queue: proxy.held(),
            available: replicas.iter().filter(|replica| replica.takes_work()).count() as u32,
            replicas,
        }
    }

    fn of_peer(peer: &Peer, now_ms: u64) -> RegionDoc {
        let reading = peer.reading();
        let reachable = reading.error.is_none();
        let told = reading.region.clone().unwrap_or_default();
        RegionDoc {
            id: peer.id.0,
            name: peer.name.clone(),
            local: false,
            reachable,
            // As policies see it: nothing can be sent there.
            queue: if reachable { told.queue } else { 0 },
            available: if reachable { told.available } else { 0 },
            error: reading.error.clone(),
            rtt_us: reading.rtt_us,
            age_ms: reading.age_ms(now_ms),
            ..told
        }
    }
}

impl ReplicaDoc {
    fn of(replica: &Replica, now_ms: u64) -> ReplicaDoc {
        let row = replica.row(now_ms);
        let reading = replica.reading();
        ReplicaDoc {
            id: replica.id.0,
            name: replica.name.clone(),
            url: replica.url.to_string(),
            kind: replica.kind.word().to_owned(),
            source: replica.stay.source.to_string(),
            health: match reading.health {
                Health::Healthy => "healthy".to_owned(),
                Health::Unhealthy => "unhealthy".to_owned(),
                Health::Unknown => "unknown".to_owned(),
            },
            health_error: reading.health_error.clone(),
            load_error: reading.load_error.clone(),
            breaker: breaker_word(replica.standing(now_ms)).to_owned(),
            draining: row.draining,
            models: reading.models.iter().map(|model| model.id.clone()).collect(),
            in_flight: replica.in_flight(),
            running: row.running,
            waiting: row.waiting,
            kv_blocks_used: row.kv_blocks_used,
            kv_blocks_total: row.kv_blocks_total,
            prefix_hit_permille: row.prefix_hit_permille,
            ttft_us: row.ttft_us,
            tpot_us: row.tpot_us,
            age_ms: reading.age_ms(now_ms),
            requests_total: replica.requests_total(),
            failures_total: replica.failures_total(),
        }
    }

    fn takes_work(&self) -> bool {
        self.health == "healthy" && self.breaker != "open" && !self.draining
    }
}

/// How a breaker stands, for people.
pub(crate) fn breaker_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Closed => "closed",
        Standing::Open { .. } => "open",
        Standing::HalfOpen | Standing::OnTrial => "half_open",
        Standing::Busy => "busy",
    }
}

/// The requests that policies hold.
#[derive(Serialize)]
pub(super) struct QueueDoc {
    waiting: usize,
    waiting_max: usize,
    drain_per_s: f64,
    retry_after_s: u64,
    tenants: Vec<TenantQueueDoc>,
}

#[derive(Serialize)]
struct TenantQueueDoc {
    tenant: String,
    waiting: u32,
    tokens: u64,
    oldest_ms: u64,
}

impl QueueDoc {
    pub fn of(proxy: &Proxy) -> QueueDoc {
        let QueueNow { waiting, waiting_max, drain_per_s, retry_after_s, tenants } = proxy.hold.now();
        let now_ms = proxy.clock.now_ms();
        let tenants = tenants.into_iter().map(|TenantHeld { tenant, waiting, tokens, oldest_ms }| TenantQueueDoc {
            tenant: tenant.to_string(),
            waiting,
            tokens,
            oldest_ms: now_ms.saturating_sub(oldest_ms),
        });
        QueueDoc { waiting, waiting_max, drain_per_s, retry_after_s, tenants: tenants.collect() }
    }
}

#[derive(Serialize)]
pub(super) struct TrafficDoc {
    time_ms: u64,
    requests_per_s: f64,
    failures_per_s: f64,
    output_tokens_per_s: f64,
    in_flight: u32,
    requests_total: u64,
    failures_total: u64,
    ttft_ms: QuantilesDoc,
    tpot_ms: QuantilesDoc,
    e2e_ms: QuantilesDoc,
    decide_us: QuantilesDoc,
    spans_dropped_total: u64,
}

#[derive(Serialize)]
struct QuantilesDoc {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
}

impl QuantilesDoc {
    fn of(quantiles: &Quantiles, unit: f64) -> QuantilesDoc {
        let Quantiles { p50, p90, p99 } = quantiles;
        let scaled = |value: &Option<f64>| value.map(|value| value / unit);
        QuantilesDoc { p50: scaled(p50), p90: scaled(p90), p99: scaled(p99) }
    }
}

impl TrafficDoc {
    pub fn of(point: &Point, proxy: &Proxy) -> TrafficDoc {
        TrafficDoc {
            time_ms: point.time_ms,
            requests_per_s: point.requests as f64,
            failures_per_s: point.failures as f64,
            output_tokens_per_s: point.output_tokens as f64,
            in_flight: point.in_flight,
            requests_total: point.requests_total,
            failures_total: point.failures_total,
            ttft_ms: QuantilesDoc::of(&point.ttft_us, 1e3),
            tpot_ms: QuantilesDoc::of(&point.tpot_us, 1e3),
            e2e_ms: QuantilesDoc::of(&point.e2e_us, 1e3),
            decide_us: QuantilesDoc::of(&point.decide_us, 1.0),
            spans_dropped_total: (proxy.spans.dropped_total)(),
        }
    }
}
