//! Looks at replicas and regions again and again, each in a task of its own, so that a hung one holds up nobody.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Request, Uri};
use openai_api::ReplicaState;
use policy_api::Event;
use tokio::time::MissedTickBehavior;

use crate::admin::RegionDoc;
use crate::clock::micros;
use crate::config::ReplicaKind;
use crate::fleet::{Peer, Replica};
use crate::proxy::Proxy;
use crate::upstream::Probe;
use crate::wire;

/// Looks at a replica between two readings of its models, while it is well.
const LOOKS_PER_MODELS: u32 = 50;
/// A region is looked at this many times less often than a replica.
const PEER_INTERVALS: u32 = 2;

/// Keeps a replica's reading fresh.
pub(crate) async fn poll_replica(proxy: Arc<Proxy>, replica: Arc<Replica>) {
    let limit = Duration::from_millis(proxy.limits.poll_ms_max);
    let mut ticks = ticks(proxy.limits.poll_interval_ms, 1);
    let mut looks_to_models = 0;
    loop {
        ticks.tick().await;
        match tokio::time::timeout(limit, look(&proxy, &replica, &mut looks_to_models)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => ill(&proxy, &replica, error),
            Err(_) => ill(&proxy, &replica, format!("no answer within {} ms", limit.as_millis())),
        }
    }
}

async fn look(proxy: &Proxy, replica: &Arc<Replica>, looks_to_models: &mut u32) -> Result<(), String> {
    let in_flight_then = replica.in_flight();
    let state = match replica.kind {
        ReplicaKind::Headworks => {
            proxy.probe.get(replica.url.endpoint("/health")).await?;
            let state = proxy.probe.get(replica.url.endpoint("/state")).await?;
            serde_json::from_slice(&state).map_err(|error| format!("GET /state gave no state: {error}"))?
        }
        ReplicaKind::Openai => {
            // Its list of models is the one thing every such server has.
            *looks_to_models = 0;
            ReplicaState::default()
        }
    };
    if *looks_to_models == 0 || replica.may_be_another(&state) {
        let models = proxy.probe.get(replica.url.endpoint("/v1/models")).await?;
        let models =
            wire::read_models(&models).map_err(|error| format!("GET /v1/models gave no list of models: {error}"))?;
        replica.serves(models);
        *looks_to_models = LOOKS_PER_MODELS;
    }
    *looks_to_models -= 1;
    let recovered = replica.looks_well(state, in_flight_then, proxy.clock.now_ms());
    // At once: whoever hears that the replica is healthy may send to it.
    proxy.fleet.touch();
    if recovered {
        tracing::info!(replica = replica.name, "replica is healthy");
        proxy.observer.tell(Event::ReplicaUp(replica.id));
    }
    Ok(())
}

fn ill(proxy: &Proxy, replica: &Replica, error: String) {
    tracing::debug!(replica = replica.name, error, "replica did not look well");
    proxy.replica_failed(replica, error, 1);
}

/// Keeps a region's reading fresh.
pub(crate) async fn poll_peer(proxy: Arc<Proxy>, peer: Arc<Peer>) {
    let limit = Duration::from_millis(proxy.limits.poll_ms_max);
    let mut ticks = ticks(proxy.limits.poll_interval_ms, PEER_INTERVALS);
    loop {
        ticks.tick().await;
        let sent = proxy.clock.now();
        match tokio::time::timeout(limit, ask(&proxy.probe, &peer)).await {
            Ok(Ok(region)) => peer.looks_well(region, micros(sent.elapsed()), proxy.clock.now_ms()),
            Ok(Err(error)) => peer.looks_ill(error),
            Err(_) => peer.looks_ill(format!("no answer within {} ms", limit.as_millis())),
        }
        proxy.fleet.touch();
    }
}

async fn ask(probe: &Probe, peer: &Peer) -> Result<RegionDoc, String> {
    let uri: Uri = peer.admin_url.endpoint("/admin/v1/region");
    let mut request = Request::get(uri);
    if let Some(token) = &peer.admin_token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.0));
    }
    let request = request.body(Default::default()).map_err(|error| format!("the token cannot be sent: {error}"))?;
    let body = probe.send(request).await?;
    serde_json::from_slice(&body).map_err(|error| format!("GET /admin/v1/region gave no region: {error}"))
}

fn ticks(interval_ms: u64, times: u32) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(Duration::from_millis(interval_ms) * times);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
