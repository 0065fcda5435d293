//! The requests that policies hold: each waits for its turn to be asked about again, and is woken for it alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch::{Asked, Held, HeldId, HoldQueue, TenantHeld};
use policy_api::RequestFacts;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::proxy::Proxy;

/// The queue, and whom to wake.
pub(crate) struct Hold {
    clock: Clock,
    queue_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    queue: HoldQueue,
    turns: HashMap<HeldId, Arc<Notify>>,
}

/// A request's place in the queue, given up when dropped.
pub(crate) struct Place<'a> {
    hold: &'a Hold,
    id: HeldId,
    turn: Arc<Notify>,
    became: Asked,
}

/// What people see of the queue.
pub(crate) struct QueueNow {
    pub waiting: usize,
    pub waiting_max: usize,
    pub drain_per_s: f64,
    pub retry_after_s: u64,
    pub tenants: Vec<TenantHeld>,
}

impl Hold {
    pub fn new(clock: Clock, queue_max: usize) -> Hold {
        Hold { clock, queue_max, inner: Mutex::default() }
    }

    /// Whether a request is to wait behind others like it.
    pub fn is_behind(&self, facts: &RequestFacts) -> bool {
        let inner = self.inner();
        !inner.queue.is_empty() && inner.queue.is_behind(&facts.tenant, &facts.model, facts.priority)
    }

    /// A place for one more, if there is one.
    pub fn enter(&self, facts: &RequestFacts) -> Option<Place<'_>> {
        let mut inner = self.inner();
        if inner.queue.len() >= self.queue_max {
            return None;
        }
        let id = inner.queue.push(Held {
            tenant: facts.tenant.as_str().into(),
            model: facts.model.as_str().into(),
            priority: facts.priority,
            tokens: facts.prompt_tokens_estimate.saturating_add(facts.output_tokens_max),
            since_ms: self.clock.now_ms(),
        });
        let turn = Arc::new(Notify::new());
        inner.turns.insert(id, turn.clone());
        Some(Place { hold: self, id, turn, became: Asked::Gone })
    }

    /// The fleet has changed: whose turn it is is asked about.
    pub fn changed(&self) {
        let mut inner = self.inner();
        inner.queue.changed();
        inner.wake();
    }

    /// Seconds after which a client that finds no place may come again.
    pub fn retry_after_s(&self) -> u64 {
        self.inner().queue.retry_after_s(self.clock.now_ms())
    }

    pub fn now(&self) -> QueueNow {
        let (queue, now_ms) = (&self.inner().queue, self.clock.now_ms());
        QueueNow {
            waiting: queue.len(),
            waiting_max: self.queue_max,
            drain_per_s: queue.drain_per_s(now_ms),
            retry_after_s: queue.retry_after_s(now_ms),
            tenants: queue.tenants(),
        }
    }

    fn settle(&self, id: HeldId, asked: Asked) {
        let mut inner = self.inner();
        inner.queue.settle(id, asked, self.clock.now_ms());
        if asked != Asked::StillHeld {
            inner.turns.remove(&id);
        }
        inner.wake();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn wake(&mut self) {
        if let Some(turn) = self.queue.ask_next().and_then(|id| self.turns.get(&id)) {
            turn.notify_one();
        }
    }
}

impl Place<'_> {
    /// Waits for its turn.
    pub async fn turn(&self) {
        self.turn.notified().await;
    }

    /// It is held as before: the next one's turn.
    pub fn waits_on(&self) {
        self.hold.settle(self.id, Asked::StillHeld);
    }

    /// There is room for it. Once it has taken that and this is dropped, it is the next one's turn.
    pub fn is_placed(&mut self) {
        self.became = Asked::Placed;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.hold.settle(self.id, self.became);
    }
}

/// Asks about held requests whenever the fleet is another. While nobody awaits that, this sleeps.
pub(crate) async fn ask_held(proxy: Arc<Proxy>) {
    let mut changed = proxy.fleet.changed();
    let mut version = 0;
    loop {
        changed.await;
        // Listen before looking, so that no change between the two is missed.
        changed = proxy.fleet.changed();
        proxy.fleet.settle(proxy.looking());
        let now = proxy.fleet.now(proxy.looking()).all.version;
        // The same fleet would be answered the same.
        if std::mem::replace(&mut version, now) != now {
            proxy.hold.changed();
        }
    }
}
