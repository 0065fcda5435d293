//! The chain: the places of the policies in the order in which they are asked.

use std::sync::Arc;

use policy_api::{Answer, Hook, Policy, PolicyFault, RequestFacts};

use crate::decision::Gathered;
use crate::stage::Pick;
use crate::{Author, Fallback, Fault, FaultKind, PolicyCall, Stage, Stopped, Stopwatch, Tally};

/// What a fault of a policy means for the request it was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The next policy is asked, in the end the fallback.
    Fallback,
    /// The request is turned away with 503.
    Reject,
}

/// One version of a policy in its slot.
#[derive(Clone)]
pub struct Link {
    /// Who it is, as decisions name it.
    pub author: Arc<Author>,
    /// What is asked.
    pub policy: Arc<dyn Policy>,
    /// What a fault in its admit hook means.
    pub on_admit_error: OnError,
    /// What a fault in its place hook means.
    pub on_place_error: OnError,
    /// It failed too often and there is nothing to put in its place: it is not asked, and that means what a fault does.
    pub is_quarantined: bool,
    /// What it did so far; shared by all chains this version of the policy is in.
    pub tally: Arc<Tally>,
}

/// The policies in order. A request takes one chain and keeps it, so none is decided by half a swap.
pub struct Chain {
    stages: Vec<Stage>,
    fallback: Arc<Fallback>,
    stopwatch: Arc<dyn Stopwatch>,
    /// It holds what was named.
    is_by_name: bool,
}

impl Link {
    /// A link whose faults mean what they mean by default: a policy that cannot say who may enter lets nobody in, one
    /// that cannot say where to go leaves it to the next.
    pub fn new(author: Author, policy: Arc<dyn Policy>) -> Link {
        Link {
            author: Arc::new(author),
            policy,
            on_admit_error: OnError::Reject,
            on_place_error: OnError::Fallback,
            is_quarantined: false,
            tally: Arc::default(),
        }
    }

    /// Whether the policy has this hook.
    pub fn has(&self, hook: Hook) -> bool {
        self.policy.describe().has(hook)
    }

    /// Counts a fault and says whose it was.
    pub(crate) fn fault(&self, kind: FaultKind) -> Fault {
        let fault = Fault { by: self.author.clone(), kind };
        // What is not asked does not fail.
        if fault.kind != FaultKind::Quarantined {
            self.tally.count_fault(&fault.kind);
        }
        fault
    }
}

impl Chain {
    /// A chain over `stages`, with `fallback` to answer when all of them pass or fail. Its calls take no time, unless it
    /// is [`Chain::timed_by`] something that tells it.
    pub fn new<S: Into<Stage>>(stages: impl IntoIterator<Item = S>, fallback: Arc<Fallback>) -> Chain {
        let stages = stages.into_iter().map(Into::into).collect();
        Chain { stages, fallback, stopwatch: Arc::new(Stopped), is_by_name: false }
    }

    /// The same chain with its calls measured.
    pub fn timed_by(self, stopwatch: Arc<dyn Stopwatch>) -> Chain {
        Chain { stopwatch, ..self }
    }

    /// Only these slots, in this order. One that is not there is not asked.
    pub fn only(&self, slots: &[String]) -> Chain {
        let of = |slot: &String| self.stages.iter().find(|stage| stage.stable.author.slot == *slot).cloned();
        let (fallback, stopwatch) = (self.fallback.clone(), self.stopwatch.clone());
        Chain { stages: slots.iter().filter_map(of).collect(), fallback, stopwatch, is_by_name: true }
    }

    /// The places in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Everyone who may be asked, canaries too.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.stages.iter().flat_map(Stage::links)
    }

    /// Who is asked about this request with this hook, in order.
    pub(crate) fn picks(&self, hook: Hook, facts: &RequestFacts) -> impl Iterator<Item = Pick<'_>> {
        let is_named = |stage: &&Stage| self.is_by_name || !stage.scope.is_by_name;
        let about = self.stages.iter().filter(is_named).filter(move |stage| stage.scope.includes(facts));
        about.map(move |stage| stage.pick(facts)).filter(move |pick| pick.link.has(hook))
    }

    /// Asks one policy: its answer goes through `judge`, and all of it into the books.
    pub(crate) fn ask<A, V>(
        &self,
        pick: Pick<'_>,
        hook: Hook,
        gathered: &mut Gathered,
        ask: impl FnOnce(&dyn Policy) -> Result<Answer<A>, PolicyFault>,
        judge: impl FnOnce(A) -> (&'static str, Result<Option<V>, FaultKind>),
    ) -> Result<Option<V>, FaultKind> {
        let link = pick.link;
        if link.is_quarantined {
            return Err(FaultKind::Quarantined);
        }
        let began_ns = self.stopwatch.now_ns();
        let answer = ask(&*link.policy);
        let took_ns = self.stopwatch.now_ns().saturating_sub(began_ns);
        let fuel = answer.as_ref().ok().and_then(|answer| answer.words.fuel);
        link.tally.count_call(took_ns, fuel);
        let (verdict, outcome) = match answer {
            Ok(answer) => judge(gathered.hear(&link.author, answer)),
            Err(fault) => ("fault", Err(FaultKind::NoVerdict(fault))),
        };
        let (by, is_canary) = (link.author.clone(), pick.is_canary);
        gathered.called(PolicyCall { by, is_canary, hook, verdict, took_ns, fuel });
        outcome
    }

    pub(crate) fn fallback(&self) -> &Fallback {
        &self.fallback
    }
}
