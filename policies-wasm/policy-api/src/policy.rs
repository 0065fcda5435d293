//! The trait that a native policy and a WebAssembly component share.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Admission, Event, FleetView, Placement, RequestFacts};

/// Something that decides. Calls may come from many threads at once.
pub trait Policy: Send + Sync {
    /// Who this is; constant for the life of the policy.
    fn describe(&self) -> &Description;

    /// Whether the request may enter. Called once per request, before any queue. Only when [`Hook::Admit`] is described.
    fn admit(&self, call: &Call<'_>) -> Result<Answer<Admission>, PolicyFault>;

    /// Where the request goes. Called again for a held request when the fleet changes. Only when [`Hook::Place`] is
    /// described.
    fn place(&self, call: &Call<'_>) -> Result<Answer<Placement>, PolicyFault>;

    /// What happened since the last call, off the data path. Only when [`Hook::Observe`] is described.
    fn observe(&self, now_ms: u64, fleet: &Arc<FleetView>, events: &[Event]) -> Result<(), PolicyFault>;
}

/// What one decision may look at.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Monotonic milliseconds.
    pub now_ms: u64,
    /// The request.
    pub facts: &'a Arc<RequestFacts>,
    /// The fleet.
    pub fleet: &'a Arc<FleetView>,
}

/// A verdict and what the policy said about it. What it said counts whether or not it passed.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<V> {
    /// The verdict.
    pub verdict: V,
    /// What it said besides.
    pub words: Words,
}

/// What a policy says besides its verdict; all bounded by the runtime.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    /// Why, in the policy's words.
    pub reason: Option<String>,
    /// Attributes for the trace's span.
    pub attributes: Vec<(String, String)>,
    /// Headers for the client's answer: lower-case name, value.
    pub headers: Vec<(String, String)>,
    /// What its slot's observe hook is to find in the request's events.
    pub note: Option<Arc<[u8]>>,
    /// What it holds until the request ends.
    pub holds: Holds,
    /// Fuel the call used, where fuel is metered.
    pub fuel: Option<u64>,
}

/// Places taken for a request. Dropping the last clone gives them back.
#[derive(Clone, Default)]
pub struct Holds(Vec<Arc<dyn Held>>);

/// One thing held for a request; dropping it gives it back.
pub trait Held: Send + Sync {}

impl<V> Answer<V> {
    /// A verdict with nothing to say about it.
    pub fn bare(verdict: V) -> Answer<V> {
        Answer { verdict, words: Words::default() }
    }
}

impl Holds {
    /// Holds one thing more.
    pub fn push(&mut self, held: Arc<dyn Held>) {
        self.0.push(held);
    }

    /// Takes over what another answer holds.
    pub fn extend(&mut self, others: Holds) {
        self.0.extend(others.0);
    }

    /// How many things are held.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holds({})", self.0.len())
    }
}

/// What is held is no part of what was said.
impl PartialEq for Holds {
    fn eq(&self, _: &Holds) -> bool {
        true
    }
}

/// Who a policy is.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Its own name, e.g. `least-load`.
    pub name: String,
    /// Its own version, e.g. `0.1.0`.
    pub version: String,
    /// The hooks it has.
    pub hooks: Vec<Hook>,
    /// Whether it keeps state of its own between calls.
    pub mode: Mode,
    /// JSON Schema of its configuration; empty when it has none.
    pub config_schema: String,
}

impl Description {
    /// Whether the policy has this hook.
    pub fn has(&self, hook: Hook) -> bool {
        self.hooks.contains(&hook)
    }
}

/// A place in a request's life where a policy may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Takes a configuration.
    Configure,
    /// Lets requests in or not.
    Admit,
    /// Chooses the target.
    Place,
    /// Hears what happened.
    Observe,
    /// Can hand its state to a successor.
    Snapshot,
}

/// Whether a policy keeps state of its own between calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It keeps none: many instances run in parallel.
    Pooled,
    /// It does: one instance, calls one after another.
    Single,
}

/// A policy that could not answer. The request goes on with the next policy or the fallback.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyFault {
    /// It trapped: a panic, an out-of-bounds access, an unreachable.
    #[error("policy trapped: {message}")]
    Trapped {
        /// The trap's message, bounded.
        message: String,
    },
    /// It ran past its deadline and was interrupted.
    #[error("policy ran past its deadline of {deadline_ms} ms")]
    DeadlinePassed {
        /// The deadline.
        deadline_ms: u32,
    },
    /// It used up its fuel.
    #[error("policy ran out of fuel ({fuel_max})")]
    OutOfFuel {
        /// The tank.
        fuel_max: u64,
    },
    /// It wanted more memory than it may have.
    #[error("policy asked for more than {memory_bytes_max} bytes of memory")]
    OutOfMemory {
        /// The bound.
        memory_bytes_max: u64,
    },
    /// No instance came free in time.
    #[error("no free instance of the policy within its deadline")]
    NoInstance,
    /// It answered what no policy may answer, e.g. a denial with status 200.
    #[error("policy gave an answer that cannot be used: {message}")]
    BadAnswer {
        /// What is wrong with it.
        message: String,
    },
    /// It was asked for a hook it does not have.
    #[error("policy has no {hook:?} hook")]
    NoHook {
        /// The hook.
        hook: Hook,
    },
}
