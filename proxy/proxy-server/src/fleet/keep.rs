//! Takes replicas in and lets them go: leases that end, and those that leave once their requests are done.

use std::sync::Arc;
use std::time::Duration;

use policy_api::Event;
use tokio::time::MissedTickBehavior;

use crate::config;
use crate::fleet::{Changes, JoinError, Joined, Replica, Source, poll_replica};
use crate::proxy::Proxy;

const INTERVAL: Duration = Duration::from_millis(100);

/// Looks again and again whose stay is over.
pub(crate) async fn keep(proxy: Arc<Proxy>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now_ms = proxy.clock.now_ms();
        for replica in proxy.fleet.replicas().iter() {
            if replica.stay.lease_left_ms(now_ms) == Some(0) && replica.stay.leave(now_ms) {
                tracing::warn!(replica = replica.name, "replica did not renew its lease, and leaves");
                proxy.lost(replica);
            }
            let is_over = replica.stay.is_over(now_ms, replica.in_flight(), proxy.limits.drain_ms_max);
            if is_over && proxy.fleet.forget(replica.id) {
                replica.stay.end();
                tracing::info!(replica = replica.name, id = replica.id.0, "replica is gone");
            }
        }
    }
}

impl Proxy {
    /// Takes a source's whole word about its replicas.
    pub fn sync_replicas(self: &Arc<Self>, source: &Source, found: &[config::Replica]) -> Vec<JoinError> {
        let Changes { joined, leaving, refused } = self.fleet.sync(source, found, self.clock.now_ms());
        for replica in &leaving {
            tracing::info!(replica = replica.name, id = replica.id.0, %source, "replica leaves");
            self.lost(replica);
        }
        for replica in &joined {
            self.found(replica);
        }
        for refused in &refused {
            tracing::warn!(%source, %refused, "replica is not taken in");
        }
        refused
    }

    /// Takes one in. Says whether it is new.
    pub fn join_replica(
        self: &Arc<Self>,
        source: &Source,
        file: &config::Replica,
    ) -> Result<(Arc<Replica>, bool), JoinError> {
        match self.fleet.join(source, file, self.clock.now_ms())? {
            Joined::Known(replica) => Ok((replica, false)),
            Joined::New { replica, instead_of } => {
                if let Some(old) = instead_of {
                    self.lost(&old);
                }
                self.found(&replica);
                Ok((replica, true))
            }
        }
    }

    /// Lets one go.
    pub fn let_go(&self, replica: &Replica) {
        if replica.stay.leave(self.clock.now_ms()) {
            tracing::info!(replica = replica.name, id = replica.id.0, "replica leaves");
            self.lost(replica);
        }
    }

    fn found(self: &Arc<Self>, replica: &Arc<Replica>) {
        tracing::info!(replica = replica.name, id = replica.id.0, source = %replica.stay.source, "replica joins");
        self.fleet.touch();
        if replica.begin_watch() {
            let (proxy, watched) = (self.clone(), replica.clone());
            self.tasks.spawn(format!("poll {}", replica.name), async move {
                tokio::select! {
                    () = poll_replica(proxy, watched.clone()) => {}
                    () = watched.stay.gone() => {}
                }
            });
        } else if replica.reading().health == policy_api::Health::Healthy {
            self.tell(|| Event::ReplicaUp(replica.id));
        }
    }

    fn lost(&self, replica: &Replica) {
        self.fleet.touch();
        self.tell(|| Event::ReplicaDown(replica.id));
    }
}
