//! Decides who serves a request: asks a chain of policies, and has an answer of its own when none of them has.
//!
//! Plain code: no IO, no clock, no async, and no idea that WebAssembly exists. The proxy and the simulator call the same
//! functions.

mod admit;
mod attempts;
mod chain;
mod decision;
mod fallback;
mod place;

pub use attempts::{Attempts, Failure, Next, Repeat, Tried};
pub use chain::{Chain, Link, OnError, Tally};
pub use decision::{Author, By, Decision, Entry, Fault, FaultKind, Target};
pub use fallback::{FALLBACK_NAME, Fallback};

#[cfg(test)]
mod fakes;
