//! Runs WebAssembly components as policies: load, pool, meter, call, trap, swap.
//!
//! The only door to wasmtime. Knows no HTTP, no tokio and not which process it is in: time, chance, log and metric
//! sinks are handed to it.

mod component;
mod error;
mod host;
mod limits;
mod runtime;

pub use component::{Component, Faults};
pub use error::LoadError;
pub use host::{Host, Level};
pub use limits::Limits;
pub use runtime::Runtime;
