//! One function for each fuzz target, from the input's bytes; the fuzzers and the seeded tests call the same.
//!
//! What they check: no panic, no hang (fuel ends every call), a refusal is one short sentence, and what a slot keeps
//! stays within its bounds.

mod bytes;
mod config;
pub mod guest;
mod host_calls;
mod loader;
mod stage;

pub use config::Config;
pub use host_calls::HostCalls;
pub use loader::Loader;
pub use stage::components;
