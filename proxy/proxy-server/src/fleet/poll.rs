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
use crate::fleet::follow::Following;
use crate::fleet::look::{Looked, Looker};
use crate::fleet::pace::{self, Pace};
use crate::fleet::{Peer, Replica};
use crate::proxy::Proxy;
use crate::upstream::NotOpened;
use crate::wire;

/// Looks at a replica between two readings of its models, while it is well.
const LOOKS_PER_MODELS: u32 = 50;
/// A replica that pushes tells changes this many times as often as others are looked at, within these bounds.
const PUSHES_PER_LOOK: u128 = 5;
const PUSH_MS_LEAST: u128 = 20;
const PUSH_MS_MOST: u128 = 1000;
/// One that pushes says something at least every 5 pushes, so that a longer silence is ill health.
const PUSH_SILENCE_LEAST: Duration = Duration::from_millis(1000);
/// A region is looked at this many times less often than a replica.
const PEER_INTERVALS: u32 = 2;

/// Keeps a replica's reading fresh.
pub(crate) async fn poll_replica(proxy: Arc<Proxy>, replica: Arc<Replica>) {
    let (mut pace, mut looking) = (Pace::default(), Looking::at(&replica));
    tokio::time::sleep(pace::stagger(&proxy.limits, proxy.fleet.replicas().len())).await;
    loop {
        let began = proxy.clock.now();
        let limit = Duration::from_millis(proxy.limits.poll_ms_max);
        match tokio::time::timeout(limit, looking.look(&proxy, &replica)).await {
            Ok(Ok(())) => {
                pace.went_well(began.elapsed());
                looking.follow(&proxy, &replica).await;
            }
            Ok(Err(error)) => {
                pace.went_ill();
                looking = Looking::at(&replica);
                ill(&proxy, &replica, error);
            }
            Err(_) => {
                pace.went_ill();
                looking = Looking::at(&replica);
                ill(&proxy, &replica, format!("no answer within {} ms", limit.as_millis()));
            }
        }
        tokio::time::sleep(pace.next(&proxy.limits, proxy.fleet.replicas().len())).await;
    }
}

/// What is known of the looking at one replica.
struct Looking {
    looker: Looker,
    looks_to_models: u32,
    /// It may push its state.
    may_push: bool,
}

impl Looking {
    fn at(replica: &Replica) -> Looking {
        let may_push = replica.kind == ReplicaKind::Headworks;
        Looking { looker: Looker::of(replica.kind), looks_to_models: 0, may_push }
    }

    async fn look(&mut self, proxy: &Proxy, replica: &Arc<Replica>) -> Result<(), String> {
        let in_flight_then = replica.in_flight();
        let Looked { state, load_error } = self.looker.look(&replica.link.probe, replica, proxy.clock.now()).await?;
        replica.loads(load_error);
        // For some its list of models is the one thing that says whether they are well.
        if replica.kind == ReplicaKind::Openai || self.looks_to_models == 0 || replica.may_be_another(&state) {
            let models = replica.link.probe.get(replica.url.endpoint("/v1/models")).await?;
            let models = wire::read_models(&models)
                .map_err(|error| format!("GET /v1/models gave no list of models: {error}"))?;
            replica.serves(models);
            self.looks_to_models = LOOKS_PER_MODELS;
        }
        self.looks_to_models -= 1;
        well(proxy, replica, state, in_flight_then);
        Ok(())
    }

    /// Takes the states that it pushes until it pushes no more.
    async fn follow(&mut self, proxy: &Proxy, replica: &Replica) {
        if !self.may_push {
            return;
        }
        let least = pace::least(&proxy.limits, proxy.fleet.replicas().len());
        let every_ms = (least.as_millis() / PUSHES_PER_LOOK).clamp(PUSH_MS_LEAST, PUSH_MS_MOST);
        let silence_max = Duration::from_millis(proxy.limits.poll_ms_max).max(PUSH_SILENCE_LEAST);
        let path = format!("/state/stream?every_ms={every_ms}").parse().expect("it is a path");
        let opened = replica.link.probe.open(replica.url.join(&path));
        match tokio::time::timeout(silence_max, opened).await {
            Ok(Ok(body)) => {
                let mut following = Following::of(body);
                while let Some(state) = following.next(silence_max).await {
                    if state.draining || replica.may_be_another(&state) {
                        return;
                    }
                    well(proxy, replica, state, replica.in_flight());
                }
            }
            // One of before, or a server that only looks like one of ours.
            Ok(Err(NotOpened::NotThere)) => self.may_push = false,
            Ok(Err(NotOpened::Failed)) | Err(_) => {}
        }
    }
}

fn well(proxy: &Proxy, replica: &Replica, state: ReplicaState, in_flight_then: u32) {
    let recovered = replica.looks_well(state, in_flight_then, proxy.clock.now_ms());
    // At once: whoever hears that the replica is healthy may send to it.
    proxy.fleet.touch();
    if recovered && !replica.stay.leaves() {
        tracing::info!(replica = replica.name, "replica is healthy");
        proxy.tell(|| Event::ReplicaUp(replica.id));
    }
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
        match tokio::time::timeout(limit, ask(&peer)).await {
            Ok(Ok(region)) => peer.looks_well(region, micros(sent.elapsed()), proxy.clock.now_ms()),
            Ok(Err(error)) => peer.looks_ill(error),
            Err(_) => peer.looks_ill(format!("no answer within {} ms", limit.as_millis())),
        }
        proxy.fleet.touch();
    }
}

async fn ask(peer: &Peer) -> Result<RegionDoc, String> {
    let uri: Uri = peer.admin_url.endpoint("/admin/v1/region");
    let mut request = Request::get(uri);
    if let Some(token) = &peer.admin_token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.0));
    }
    let request = request.body(Default::default()).map_err(|error| format!("the token cannot be sent: {error}"))?;
    let body = peer.admin.probe.send(request).await?;
    serde_json::from_slice(&body).map_err(|error| format!("GET /admin/v1/region gave no region: {error}"))
}

fn ticks(interval_ms: u64, times: u32) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(Duration::from_millis(interval_ms) * times);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
