//! The chain: the policies in the order in which they are asked, and what each has done so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use policy_api::{Hook, Policy};

use crate::{Author, Fallback, Fault, FaultKind};

/// What a fault of a policy means for the request it was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The next policy is asked, in the end the fallback.
    Fallback,
    /// The request is turned away with 503.
    Reject,
}

/// One policy in its slot.
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
    /// What it did so far; shared by all chains this version of the policy is in.
    pub tally: Arc<Tally>,
}

/// What one version of a policy did so far.
#[derive(Debug, Default)]
pub struct Tally {
    decisions: AtomicU64,
    faults: AtomicU64,
    last_fault: Mutex<Option<String>>,
}

/// The policies in order. A request takes one chain and keeps it, so none is decided by half a swap.
pub struct Chain {
    links: Vec<Link>,
    fallback: Arc<Fallback>,
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
        self.tally.count_fault(&fault.kind);
        fault
    }
}

impl Tally {
    /// Verdicts it gave that were followed.
    pub fn decisions_total(&self) -> u64 {
        self.decisions.load(Ordering::Relaxed)
    }

    /// Times it could not answer, or answered what cannot be done.
    pub fn faults_total(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// The last fault in words.
    pub fn last_fault(&self) -> Option<String> {
        self.last_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a fault that was seen outside a decision, such as one of the observe hook.
    pub fn count_fault(&self, kind: &FaultKind) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        *self.last_fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(kind.to_string());
    }

    pub(crate) fn count_decision(&self) {
        self.decisions.fetch_add(1, Ordering::Relaxed);
    }
}

impl Chain {
    /// A chain over `links`, with `fallback` to answer when all of them pass or fail.
    pub fn new(links: Vec<Link>, fallback: Arc<Fallback>) -> Chain {
        Chain { links, fallback }
    }

    /// The policies in order.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    pub(crate) fn fallback(&self) -> &Fallback {
        &self.fallback
    }
}
