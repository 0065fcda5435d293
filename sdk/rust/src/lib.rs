//! What the author of a policy imports: the contract's words, a mirror of the fleet, and one macro.
//!
//! ```
//! use headworks_policy::{Fleet, Mode, Place, Placement, Policy, Request, telemetry};
//!
//! /// Sends every request to the first replica that takes work.
//! #[derive(Default)]
//! struct FirstFit;
//!
//! impl Policy for FirstFit {
//!     const NAME: &str = "first-fit";
//!     const VERSION: &str = "0.1.0";
//!     const MODE: Mode = Mode::Pooled;
//! }
//!
//! impl Place for FirstFit {
//!     fn place(&mut self, _request: &Request<'_>, fleet: &Fleet) -> Placement {
//!         match fleet.rows().find(|row| fleet.takes_work(*row)) {
//!             Some(row) => {
//!                 telemetry::explain("the first that takes work");
//!                 Placement::Replica(fleet.id()[row])
//!             }
//!             None => Placement::Pass,
//!         }
//!     }
//! }
//!
//! headworks_policy::export!(FirstFit: place);
//! # fn main() {}
//! ```
//!
//! A policy exports the hooks named in [`export!`] and no others. Everything compiles for the host too, where the
//! deciding code is tested: [`Fleet::of`] and [`Request::of`] make what the host would lend. What the host keeps
//! (buckets, store, prefix index, chance) is there inside a component only: hand it to the deciding code as arguments.

mod choose;
mod export;
mod fleet;
mod hash;
mod hooks;
mod prefix;
mod reason;
mod refuse;
mod request;
mod senses;

#[doc(hidden)]
pub mod bindings;

pub use choose::least;
pub use export::rt;
pub use fleet::{Fleet, Health, Region, Regions, Replica};
pub use hash::{hash64, mix64};
pub use hooks::{
    Admission, Admit, Configure, Denial, Ended, Event, Failed, Failure, FirstToken, Mode, Observe, Outcome, Place,
    Placement, Policy, Refusal, Snapshot, Started, Subject, Usage,
};
pub use prefix::{BLOCK_BYTES, Prefix};
pub use reason::Reason;
pub use request::{Facts, Hashes, Request};
pub use senses::{buckets, chance, clock, log, prefix_index, reply, store, telemetry};
