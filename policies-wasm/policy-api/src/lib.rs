//! The words of the policy contract in Rust: what a policy sees, what it answers, and the trait it is.
//!
//! A native policy and a WebAssembly component are the same [`Policy`] to everything above. Nothing here knows HTTP,
//! Wasm, a clock or a socket.

mod events;
mod facts;
mod fleet;
mod policy;
mod prompt;
mod verdict;

pub use events::{Event, FailureKind, Notes, Outcome, Subject, Usage};
pub use facts::{BLOCK_BYTES, RequestFacts};
pub use fleet::{FleetView, Health, RegionId, RegionRow, Regions, ReplicaId, ReplicaRole, ReplicaRow};
pub use policy::{Answer, Call, Description, Held, Holds, Hook, Mode, Policy, PolicyFault, Words};
pub use prompt::Prompt;
pub use verdict::{Admission, Denial, Placement};
