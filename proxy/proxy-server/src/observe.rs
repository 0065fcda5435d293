//! Tells policies what happened, in batches, off the data path.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use dispatch::Scope;
use policy_api::{Event, Hook};
use prometheus::IntCounter;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::proxy::Proxy;

/// Events one call of an observe hook is told.
const BATCH_EVENTS_MAX: usize = 256;
/// How long events wait for more to come.
const BATCH_TIME: Duration = Duration::from_millis(20);

/// Takes events on the data path; never waits.
pub(crate) struct Observer {
    events: Sender<Event>,
    dropped: IntCounter,
}

impl Observer {
    /// An observer, and what [`observe`] reads from.
    pub fn new(events_max: usize, dropped: IntCounter) -> (Observer, Receiver<Event>) {
        let (events, queue) = mpsc::channel(events_max);
        (Observer { events, dropped }, queue)
    }

    /// Events that wait now.
    pub fn waiting(&self) -> usize {
        self.events.max_capacity() - self.events.capacity()
    }

    /// Tells of an event; drops it and counts that when too many wait.
    pub fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.dropped.inc();
        }
    }
}

/// Hands events to the policies that have the observe hook, batch by batch.
pub(crate) async fn observe(proxy: Arc<Proxy>, mut queue: Receiver<Event>) {
    let mut batch = Vec::with_capacity(BATCH_EVENTS_MAX);
    loop {
        let events_now = queue.recv_many(&mut batch, BATCH_EVENTS_MAX).await;
        if events_now == 0 {
            return;
        }
        let chain = proxy.policies.chain();
        if chain.links().any(|link| link.has(Hook::Observe)) {
            let proxy = proxy.clone();
            let events = std::mem::take(&mut batch);
            let told = tokio::task::spawn_blocking(move || tell(&proxy, &events)).await;
            if let Err(error) = told {
                tracing::error!(%error, "telling policies of events failed");
            }
            // A full batch means that more wait already.
            if events_now < BATCH_EVENTS_MAX {
                tokio::time::sleep(BATCH_TIME).await;
            }
        }
        batch.clear();
    }
}

fn tell(proxy: &Proxy, events: &[Event]) {
    let fleet = proxy.fleet.now(proxy.looking()).all.clone();
    for stage in proxy.policies.chain().stages() {
        let about = within(&stage.scope, events);
        if about.is_empty() {
            continue;
        }
        // A canary hears the same: when it is promoted it must know what there is to know.
        for link in stage.links().filter(|link| link.has(Hook::Observe) && !link.is_quarantined) {
            let (began, now_ms) = (proxy.clock.now(), proxy.clock.now_ms());
            let told = link.policy.observe(now_ms, &fleet, &about);
            link.tally.count_call(began.elapsed().as_nanos() as u64, None);
            if let Err(fault) = told {
                tracing::warn!(slot = link.author.slot, %fault, "policy fault in observe");
                link.tally.count_fault(&dispatch::FaultKind::NoVerdict(fault));
                proxy.metrics.policy_faults.with_label_values(&[&link.author.slot]).inc();
                proxy.policies.look_soon();
            }
        }
    }
}

/// The events that a slot's policies are to hear of: those of requests they may be asked about, and of replicas.
fn within<'a>(scope: &Scope, events: &'a [Event]) -> Cow<'a, [Event]> {
    match scope.is_everything() {
        true => Cow::Borrowed(events),
        false => Cow::Owned(events.iter().filter(|event| scope.includes_event(event)).cloned().collect()),
    }
}
