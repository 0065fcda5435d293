//! What was decided, by whom, why, and which policies failed on the way.

use std::fmt;
use std::sync::Arc;

use policy_api::{Answer, Denial, Hook, Notes, PolicyFault, RegionId, ReplicaId, Words};
use thiserror::Error;

/// Who a deciding policy is: one version in one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The slot in the chain.
    pub slot: String,
    /// The version's number within its slot, from 1.
    pub number: u32,
    /// The policy's own name.
    pub name: String,
    /// The policy's own version.
    pub version: String,
    /// `sha256:…` of the component; empty for a native policy.
    pub digest: String,
}

/// Who decided.
#[derive(Clone, Debug, PartialEq)]
pub enum By {
    /// A policy of the chain.
    Policy(Arc<Author>),
    /// Every policy passed or failed.
    Fallback,
}

/// A verdict, who gave it and why, and who failed before it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<V> {
    /// Who decided.
    pub by: By,
    /// What was decided.
    pub verdict: V,
    /// What was said besides: the decider's reason, and of all that were asked, those that passed too, the attributes,
    /// the headers, what they hold, and the fuel.
    pub words: Words,
    /// What they noted about the request.
    pub notes: Notes,
    /// The policies that were asked and failed, in order.
    pub faults: Vec<Fault>,
    /// Everyone who was asked, in order; at most [`CALLS_MAX`].
    pub calls: Vec<PolicyCall>,
}

/// One call of one policy's hook.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyCall {
    /// Who was asked.
    pub by: Arc<Author>,
    /// It stands in for the slot's own version.
    pub is_canary: bool,
    /// What was asked.
    pub hook: Hook,
    /// The verdict's word, `fault` where there is none. It may be one that cannot be followed: see [`Decision::faults`].
    pub verdict: &'static str,
    /// How long it took.
    pub took_ns: u64,
    /// What it used, where fuel is metered.
    pub fuel: Option<u64>,
}

/// Calls kept of one decision.
pub const CALLS_MAX: usize = 64;

/// Whether a request may enter.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// It may.
    Allowed,
    /// It may not.
    Denied(Denial),
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// To this replica, which takes work and was not tried before.
    Replica(ReplicaId),
    /// To the proxy of this region, which is not our own.
    Region(RegionId),
    /// Nowhere yet: ask again when the fleet changes.
    Hold,
    /// Away.
    Rejected(Denial),
    /// Nowhere: no replica takes work.
    Nobody,
}

/// A policy that could not answer, or answered what cannot be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Whose fault it is.
    pub by: Arc<Author>,
    /// What it did.
    pub kind: FaultKind,
}

/// What a policy did wrong.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum FaultKind {
    /// It gave no verdict.
    #[error(transparent)]
    NoVerdict(PolicyFault),
    /// It is not asked any more, and there is nothing in its place.
    #[error("it is quarantined and no earlier version is left; put another one")]
    Quarantined,
    /// It named a replica that is not there.
    #[error("it named replica {}, which this fleet does not have", .0.0)]
    UnknownReplica(ReplicaId),
    /// It named a replica that is unhealthy or draining.
    #[error("it named replica {}, which takes no work now", .0.0)]
    ReplicaTakesNoWork(ReplicaId),
    /// It named a replica that has just failed this request.
    #[error("it named replica {}, which has already failed this request", .0.0)]
    ReplicaTried(ReplicaId),
    /// It named a region that is not there.
    #[error("it named region {}, which this mesh does not have", .0.0)]
    UnknownRegion(RegionId),
    /// It wanted to forward to the region it is in.
    #[error("it named region {}, which is this proxy's own", .0.0)]
    OwnRegion(RegionId),
    /// It named a region that has just failed this request.
    #[error("it named region {}, which has already failed this request", .0.0)]
    RegionTried(RegionId),
    /// It wanted to forward what another proxy forwarded to us.
    #[error("it forwarded a request that another region had already forwarded")]
    ForwardedTwice,
    /// It denied with a status that is no error.
    #[error("it denied with status {status}; a denial's status is 400 to 599")]
    BadDenial {
        /// The status.
        status: u16,
    },
}

impl<V> Decision<V> {
    /// Whether the verdict is that of a canary.
    pub fn is_of_canary(&self) -> bool {
        let By::Policy(author) = &self.by else { return false };
        self.calls.iter().rev().find(|call| Arc::ptr_eq(&call.by, author)).is_some_and(|call| call.is_canary)
    }

    /// Turns the verdict into another, keeping the rest.
    pub fn map<W>(self, change: impl FnOnce(V) -> W) -> Decision<W> {
        let Decision { by, verdict, words, notes, faults, calls } = self;
        Decision { by, verdict: change(verdict), words, notes, faults, calls }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Author { slot, name, version, .. } = &*self.by;
        write!(f, "{slot} ({name} {version}): {}", self.kind)
    }
}

/// What is gathered while the policies are asked, in order.
#[derive(Default)]
pub(crate) struct Gathered {
    words: Words,
    notes: Notes,
    pub faults: Vec<Fault>,
    calls: Vec<PolicyCall>,
}

impl Gathered {
    /// Keeps what a policy said; its verdict is handed back.
    pub fn hear<V>(&mut self, author: &Author, answer: Answer<V>) -> V {
        let Answer { verdict, words: Words { reason, attributes, headers, note, holds, fuel } } = answer;
        self.words.reason = reason;
        self.words.attributes.extend(attributes);
        for (name, value) in headers {
            self.words.headers.retain(|(known, _)| *known != name);
            self.words.headers.push((name, value));
        }
        self.words.holds.extend(holds);
        if let Some(fuel) = fuel {
            self.words.fuel = Some(self.words.fuel.unwrap_or(0) + fuel);
        }
        if let Some(note) = note {
            self.notes.set(&author.slot, note);
        }
        verdict
    }

    /// Keeps that a policy was asked.
    pub fn called(&mut self, call: PolicyCall) {
        if self.calls.len() < CALLS_MAX {
            self.calls.push(call);
        }
    }

    /// The decision of a policy.
    pub fn decided<V>(self, author: &Arc<Author>, verdict: V) -> Decision<V> {
        let Gathered { words, notes, faults, calls } = self;
        Decision { by: By::Policy(author.clone()), verdict, words, notes, faults, calls }
    }

    /// The decision of nobody but the fallback, and why.
    pub fn left<V>(self, verdict: V, reason: Option<String>) -> Decision<V> {
        let Gathered { words, notes, faults, calls } = self;
        Decision { by: By::Fallback, verdict, words: Words { reason, ..words }, notes, faults, calls }
    }
}

/// What a client is told when a policy that must decide could not.
pub(crate) fn denial_for_fault() -> Denial {
    Denial {
        status: 503,
        retry_after_ms: Some(1000),
        message: "a routing policy could not decide about this request; try again".to_owned(),
    }
}

/// A denial a client can be sent, or what is wrong with it.
pub(crate) fn checked(denial: Denial) -> Result<Denial, FaultKind> {
    match denial.status {
        400..=599 => Ok(denial),
        status => Err(FaultKind::BadDenial { status }),
    }
}
