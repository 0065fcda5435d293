//! Decides who serves a request: asks a chain of policies, and has an answer of its own when none of them has.
//!
//! Plain code: no IO, no clock, no async, and no idea that WebAssembly exists. The proxy and the simulator call the same
//! functions.

mod admit;
mod attempts;
mod breaker;
mod chain;
mod decision;
mod fallback;
mod hedge;
mod hold;
mod place;
mod resume;
mod retries;
mod scope;
mod stage;
mod stopwatch;
mod tally;
mod times;
mod trial;

pub use attempts::{Attempts, Failure, Next, Repeat, Tried};
pub use breaker::{Breaker, BreakerRules, Conduct, Standing, ejected, slow_ones};
pub use chain::{Chain, Link, OnError};
pub use decision::{Author, By, CALLS_MAX, Decision, Entry, Fault, FaultKind, PolicyCall, Target};
pub use fallback::{FALLBACK_NAME, Fallback};
pub use hedge::{HedgeRules, Hedges};
pub use hold::{Asked, Held, HeldId, HoldQueue, TenantHeld};
pub use resume::{Continues, ResumeMode, Resumed, Resumes, Sampling};
pub use retries::{RetryBudget, RetryRules};
pub use scope::{Pattern, Scope};
pub use stage::{Canary, Stage};
pub use stopwatch::{Stopped, Stopwatch};
pub use tally::{Reading, Tally};
pub use times::{Times, TimesNow};
pub use trial::{Budget, Judgement, Quarantine, Trial};

#[cfg(test)]
mod fakes;
