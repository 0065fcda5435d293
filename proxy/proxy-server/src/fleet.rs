//! The fleet as this proxy knows it: replicas, other regions, and the view of them that policies see.

mod follow;
mod judge;
mod keep;
mod look;
mod pace;
mod peer;
mod poll;
mod prometheus_text;
mod publish;
mod replica;
mod roster;
mod scrape;
mod stay;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use arc_swap::ArcSwap;
use dispatch::Tried;
use policy_api::{FleetView, RegionId, ReplicaId};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::upstream::Links;
use publish::Publisher;
use roster::Roster;

pub(crate) use judge::judge;
pub(crate) use keep::keep;
pub(crate) use peer::Peer;
pub(crate) use poll::{poll_peer, poll_replica};
pub(crate) use publish::Published;
pub(crate) use replica::{Replica, Ticket};
pub(crate) use roster::{Changes, JoinError, Joined};
pub(crate) use stay::Source;

/// A fleet of so many is shown exactly as it is at each look.
const EXACT_REPLICAS_MAX: u64 = 256;
/// A larger fleet's view is made anew after a microsecond for each so many replicas: 2 ms for 4,000, where the making
/// takes 0.3 ms unoptimised.
const REPLICAS_PER_US: u64 = 2;

/// All replicas and regions, and the last view of them.
pub(crate) struct Fleet {
    roster: Roster,
    pub peers: Vec<Arc<Peer>>,
    published: ArcSwap<Published>,
    publisher: Mutex<Publisher>,
    /// When the last view was made, in monotonic microseconds, and of how many replicas.
    made_us: AtomicU64,
    made_of: AtomicUsize,
    /// Something changed since the last view was made.
    dirty: AtomicBool,
    changed: Notify,
    /// Who waits for changes: while nobody does, nobody is woken.
    awaited: AtomicUsize,
}

/// Wants to be woken by changes, until it is dropped.
pub(crate) struct Awaits<'a>(&'a AtomicUsize);

/// Why there is no view for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoView {
    /// No replica of any region serves it.
    UnknownModel,
    /// Nobody known serves it, but not all have told their models yet.
    NobodyKnown,
}

impl Fleet {
    pub fn new(config: &Config) -> Fleet {
        let links = Links::of(&config.limits);
        let fleet = Fleet {
            roster: Roster::new(config.limits.replicas_max, config.limits.breaker(), links),
            peers: config.regions.iter().map(|region| Arc::new(Peer::new(region, &links))).collect(),
            published: ArcSwap::default(),
            publisher: Mutex::new(Publisher::new(config.limits.ejection_percent_max)),
            made_us: AtomicU64::new(0),
            made_of: AtomicUsize::new(0),
            dirty: AtomicBool::new(true),
            changed: Notify::new(),
            awaited: AtomicUsize::new(0),
        };
        fleet.publish(0, 0);
        fleet
    }

    /// The fleet as it is now. Counts of requests under way are as of this call, so that a burst between two looks at
    /// the replicas spreads.
    ///
    /// Where replicas are very many, making a view for each of their changes would be all that the proxy does: there
    /// the last one, which is milliseconds old, serves a burst.
    pub fn now(&self, now: Looking<'_>) -> Arc<Published> {
        if self.dirty.load(Ordering::Acquire) && self.is_due(now) {
            self.publish(now.clock.now_ms(), now.held);
            self.made_us.store(now.clock.now_us(), Ordering::Relaxed);
        }
        self.published.load_full()
    }

    /// Waits until the last view shows every change up to this call: who goes back to sleep over it must not have
    /// looked at one that another was about to replace.
    pub fn settle(&self, now: Looking<'_>) {
        let publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        if self.dirty.load(Ordering::SeqCst) {
            self.publish_by(publisher, now.clock.now_ms(), now.held);
        }
    }

    /// The replicas that serve a model, as policies see them; without a model, all.
    pub fn view(&self, now: Looking<'_>, model: Option<&str>) -> Result<Arc<FleetView>, NoView> {
        let view = self.now(now).view(model);
        if view.as_ref().is_ok_and(|view| view.takes_any_work()) {
            return view;
        }
        // Nobody is turned away over a view that another was about to replace.
        self.settle(now);
        self.published.load().view(model)
    }

    /// The same without the replicas that have failed this request, so that policies need not remember them.
    pub fn view_without(&self, view: &FleetView, tried: &Tried) -> Arc<FleetView> {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner).without(view, tried)
    }

    /// Says that a replica or region is not what the last view says.
    pub fn touch(&self) {
        // In one order with who begins to wait: it sees this change in the view, or is woken by it.
        self.dirty.store(true, Ordering::SeqCst);
        if self.awaited.load(Ordering::SeqCst) > 0 {
            self.changed.notify_waiters();
        }
    }

    /// From here on, changes wake those who wait for one.
    pub fn awaits(&self) -> Awaits<'_> {
        self.awaited.fetch_add(1, Ordering::SeqCst);
        Awaits(&self.awaited)
    }

    /// Says that the next view differs, though there is no more room than before: a request has begun somewhere, or is
    /// held.
    pub fn mark(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// A future that ends at the next change after this call, as long as somebody [`awaits`](Fleet::awaits) them.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// All replicas, those that are about to go included.
    pub fn replicas(&self) -> Arc<Vec<Arc<Replica>>> {
        self.roster.members()
    }

    pub fn replica(&self, id: ReplicaId) -> Option<Arc<Replica>> {
        self.roster.replica(id)
    }

    /// The replica of this name that is not about to go.
    pub fn named(&self, name: &str) -> Option<Arc<Replica>> {
        self.roster.named(name)
    }

    /// Takes a source's whole word about its replicas.
    pub fn sync(&self, source: &Source, found: &[config::Replica], now_ms: u64) -> Changes {
        let changes = self.roster.sync(source, found, now_ms);
        self.touch();
        changes
    }

    /// Takes one replica in.
    pub fn join(&self, source: &Source, file: &config::Replica, now_ms: u64) -> Result<Joined, JoinError> {
        let joined = self.roster.join(source, file, now_ms);
        self.touch();
        joined
    }

    /// Strikes one off that has gone.
    pub fn forget(&self, id: ReplicaId) -> bool {
        let is_gone = self.roster.forget(id);
        self.touch();
        is_gone
    }

    pub fn peer(&self, id: RegionId) -> Option<&Arc<Peer>> {
        self.peers.iter().find(|peer| peer.id == id)
    }

    /// The models of healthy replicas, each once, as the first replica that lists it does; then those that only other
    /// regions serve.
    pub fn models(&self) -> Vec<crate::wire::Model> {
        let mut models: Vec<crate::wire::Model> = Vec::new();
        for replica in self.replicas().iter() {
            let reading = replica.reading();
            if reading.health != policy_api::Health::Healthy {
                continue;
            }
            for model in reading.models.iter() {
                if !models.iter().any(|known| known.id == model.id) {
                    models.push(model.clone());
                }
            }
        }
        for peer in self.peers.iter().filter(|peer| peer.reading().error.is_none()) {
            for id in peer.models().iter() {
                if !models.iter().any(|known| known.id == *id) {
                    models.push(crate::wire::Model::named(id.clone()));
                }
            }
        }
        models
    }

    fn is_due(&self, now: Looking<'_>) -> bool {
        let replicas = self.made_of.load(Ordering::Relaxed) as u64;
        let age_us = now.clock.now_us().saturating_sub(self.made_us.load(Ordering::Relaxed));
        replicas <= EXACT_REPLICAS_MAX || age_us * REPLICAS_PER_US >= replicas
    }

    fn publish(&self, now_ms: u64, held: u32) {
        // One maker at a time; others decide by the last view, which is microseconds old.
        let publisher = match self.publisher.try_lock() {
            Ok(publisher) => publisher,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.publish_by(publisher, now_ms, held);
    }

    fn publish_by(&self, mut publisher: MutexGuard<'_, Publisher>, now_ms: u64, held: u32) {
        // Before the looking: what changes from here on makes the next view.
        self.dirty.swap(false, Ordering::AcqRel);
        let replicas = self.replicas();
        self.made_of.store(replicas.len(), Ordering::Relaxed);
        if let Some(next) = publisher.publish(&self.published.load(), &replicas, &self.peers, now_ms, held) {
            self.published.store(Arc::new(next));
        }
    }
}

impl Drop for Awaits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a view depends on beside the fleet itself.
#[derive(Clone, Copy)]
pub(crate) struct Looking<'a> {
    pub clock: &'a Clock,
    /// Requests that policies hold here.
    pub held: u32,
}

#[cfg(test)]
mod tests;
