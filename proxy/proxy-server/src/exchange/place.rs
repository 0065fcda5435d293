//! Finds where a request goes: the policies' place hooks, and the wait of a held request.

use std::sync::Arc;
use std::time::Duration;

use dispatch::{Chain, Decision, Target, Tried};
use policy_api::{Call, FleetView, RegionId, ReplicaId, RequestFacts};
use telemetry::{Span, SpanKind};

use crate::exchange::Refusal;
use crate::exchange::finish::Journal;
use crate::exchange::verdict::describe_decision;
use crate::fleet::{NoView, Peer, Replica};
use crate::hold;
use crate::proxy::Proxy;

/// Where a request goes.
pub(crate) enum Placed {
    Replica(Arc<Replica>),
    Region { peer: Arc<Peer>, hop: u32 },
}

/// A target by its name, to be remembered when it fails.
#[derive(Clone, Copy)]
pub(crate) enum TargetId {
    Replica(ReplicaId),
    Region(RegionId),
}

impl Placed {
    pub fn target(&self) -> TargetId {
        match self {
            Placed::Replica(replica) => TargetId::Replica(replica.id),
            Placed::Region { peer, .. } => TargetId::Region(peer.id),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Placed::Replica(replica) => &replica.name,
            Placed::Region { peer, .. } => &peer.name,
        }
    }
}

impl TargetId {
    pub fn mark_tried(self, tried: &mut Tried) {
        match self {
            TargetId::Replica(id) => tried.replicas.push(id),
            TargetId::Region(id) => tried.regions.push(id),
        }
    }
}

/// Asks the policies, about the fleet that was `seen` just now if it was; where they hold the request, asks again when it is its turn, until the bound. Its place in the
/// queue is to be kept until it has taken the room that it was found, so that the next one sees what is left.
pub(crate) async fn place<'p>(
    proxy: &'p Proxy,
    journal: &mut Journal,
    chain: &Chain,
    facts: &Arc<RequestFacts>,
    tried: &Tried,
    seen: Option<Arc<FleetView>>,
) -> Result<(Placed, Option<hold::Place<'p>>), Refusal> {
    let mut placing = Placing::begin(proxy, journal, chain, facts, tried);
    let mut fleet = seen.map_or_else(|| view(proxy, facts), Ok)?;
    // Who comes later is not served sooner.
    if !proxy.hold.is_behind(facts)
        && let Some(placed) = placing.ask(journal, &fleet)?
    {
        return Ok((placed, None));
    }
    let (queue_max, hold_ms_max) = (proxy.limits.queue_max, proxy.limits.hold_ms_max);
    let full = || Refusal::QueueFull { queue_max, retry_after_s: proxy.hold.retry_after_s() };
    let mut held = proxy.hold.enter(facts).ok_or_else(full)?;
    let _awaits = proxy.fleet.awaits();
    // What changed since it was asked about is nobody's turn.
    proxy.fleet.settle(proxy.looking());
    if view(proxy, facts)?.version != fleet.version {
        proxy.hold.changed();
    }
    let _counted = proxy.hold();
    let held_until = tokio::time::Instant::now() + Duration::from_millis(hold_ms_max);
    let until = journal.deadline().or(held_until);
    loop {
        if tokio::time::timeout_at(until, held.turn()).await.is_err() {
            return Err(match until < held_until {
                true => Refusal::DeadlineOver,
                false => Refusal::HeldTooLong { hold_ms_max, retry_after_s: proxy.hold.retry_after_s() },
            });
        }
        let now = view(proxy, facts)?;
        // The same fleet would be answered the same: a look that found nothing new is no reason to ask.
        if now.version != fleet.version || placing.last.is_none() {
            fleet = now;
            if let Some(placed) = placing.ask(journal, &fleet)? {
                held.is_placed();
                return Ok((placed, Some(held)));
            }
        }
        held.waits_on();
    }
}

/// One placement: what is asked of the policies, once or many times, and the span of it all.
struct Placing<'a> {
    proxy: &'a Proxy,
    chain: &'a Chain,
    facts: &'a Arc<RequestFacts>,
    tried: &'a Tried,
    span: Span,
    /// The last decision; the span tells of it when the placement ends.
    last: Option<Decision<Target>>,
}

impl<'a> Placing<'a> {
    fn begin(
        proxy: &'a Proxy,
        journal: &Journal,
        chain: &'a Chain,
        facts: &'a Arc<RequestFacts>,
        tried: &'a Tried,
    ) -> Placing<'a> {
        let span = journal.span.child("place", SpanKind::Internal);
        Placing { proxy, chain, facts, tried, span, last: None }
    }

    /// Where the policies want it; `None` to hold it.
    fn ask(&mut self, journal: &mut Journal, fleet: &Arc<FleetView>) -> Result<Option<Placed>, Refusal> {
        let Placing { proxy, chain, facts, tried, .. } = *self;
        let without;
        let fleet = match tried.replicas.is_empty() {
            true => fleet,
            false => {
                without = proxy.fleet.view_without(fleet, tried);
                &without
            }
        };
        let began = proxy.clock.now();
        let decision = chain.place(&Call { now_ms: proxy.clock.now_ms(), facts, fleet }, tried);
        journal.placed(&decision, fleet, began.elapsed());
        let decision = self.last.insert(decision);
        match &decision.verdict {
            Target::Replica(id) => {
                // Who leaves is kept until those who saw it in a view have decided; who decided for longer comes again.
                let replica = proxy.fleet.replica(*id).ok_or(Refusal::NobodyTakesWork)?;
                Ok(Some(Placed::Replica(replica)))
            }
            Target::Region(id) => {
                let peer = proxy.fleet.peer(*id).expect("a decision names a region of the view").clone();
                Ok(Some(Placed::Region { peer, hop: facts.hop + 1 }))
            }
            Target::Hold => Ok(None),
            Target::Rejected(denial) => Err(Refusal::Denied(denial.clone())),
            Target::Nobody => Err(Refusal::NobodyTakesWork),
        }
    }
}

impl Drop for Placing<'_> {
    fn drop(&mut self) {
        if let Some(decision) = &self.last {
            describe_decision(&self.span, decision);
        }
    }
}

/// The replicas that could serve the request.
pub(crate) fn view(proxy: &Proxy, facts: &RequestFacts) -> Result<Arc<FleetView>, Refusal> {
    let model = (!facts.model.is_empty()).then_some(facts.model.as_str());
    proxy.fleet.view(proxy.looking(), model).map_err(|none| match none {
        NoView::UnknownModel => Refusal::UnknownModel { model: facts.model.clone() },
        NoView::NobodyKnown => Refusal::NobodyTakesWork,
    })
}
