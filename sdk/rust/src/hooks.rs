//! The hooks as traits, and the words they answer in.

use crate::{Fleet, Request, bindings};

pub use bindings::{
    admitting::exports::headworks::policy::admit::Admission,
    configured::exports::headworks::policy::configure::Refusal,
    described::exports::headworks::policy::describe::Mode,
    observing::exports::headworks::policy::observe::{
        Ended, Event, Failed, Failure, FirstToken, Outcome, Started, Subject,
    },
    placing::exports::headworks::policy::place::Placement,
    senses::headworks::policy::types::{Denial, Usage},
};

/// Who the policy is. `Default` makes a new instance, before it is configured.
pub trait Policy: Default + 'static {
    /// Its own name: letters, digits, `-`, `_`, `.`, `+`.
    const NAME: &str;
    /// Its own version; `env!("CARGO_PKG_VERSION")` does.
    const VERSION: &str;
    /// Whether it keeps state of its own between calls.
    const MODE: Mode;
    /// JSON Schema of its configuration; empty when it has none.
    const CONFIG_SCHEMA: &str = "";
}

/// Takes a configuration.
pub trait Configure {
    /// Called before any other hook on every new instance, with a JSON object, `{}` when the operator gave none.
    fn configure(&mut self, json: &str) -> Result<(), Refusal>;
}

/// Lets requests in or turns them away.
pub trait Admit {
    /// Called once per request, before any queue.
    fn admit(&mut self, request: &Request<'_>, fleet: &Fleet) -> Admission;
}

/// Chooses the target.
pub trait Place {
    /// Called when a request needs a target, and again for a held request when the fleet changes.
    fn place(&mut self, request: &Request<'_>, fleet: &Fleet) -> Placement;
}

/// Hears what happened.
pub trait Observe {
    /// Called in batches, off the data path.
    fn observe(&mut self, events: &[Event], fleet: &Fleet);
}

/// Carries the state of a [`Mode::Single`] policy over a swap.
pub trait Snapshot {
    /// The state, in a form whose version the policy can tell.
    fn snapshot(&self) -> Vec<u8>;
    /// Takes over a predecessor's state. A refusal means: starts empty.
    fn restore(&mut self, bytes: &[u8]) -> Result<(), String>;
}

impl Refusal {
    /// A refusal that names the field at fault.
    pub fn of(field: &str, message: impl Into<String>) -> Refusal {
        Refusal { field: field.to_owned(), message: message.into() }
    }
}
