//! The trait that a native policy and a WebAssembly component share.

use std::sync::Arc;

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

/// A verdict and what the policy said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<V> {
    /// The verdict.
    pub verdict: V,
    /// Why, in the policy's words (bounded by the runtime).
    pub reason: Option<String>,
    /// Attributes for the trace's span (bounded by the runtime).
    pub attributes: Vec<(String, String)>,
}

impl<V> Answer<V> {
    /// A verdict with nothing to say about it.
    pub fn bare(verdict: V) -> Answer<V> {
        Answer { verdict, reason: None, attributes: Vec::new() }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It keeps none: many instances run in parallel.
    Pooled,
    /// It does: one instance, calls one after another.
    Single,
}

/// A policy that could not answer. The request goes on with the next policy or the fallback.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
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
