//! Runs WebAssembly components as policies: load, pool, meter, call, trap, swap.
//!
//! The only door to wasmtime. Knows no HTTP, no tokio and not which process it is in: time, chance, log and metric
//! sinks are handed to it.

mod blueprint;
mod chance;
mod compiled;
mod component;
mod contract;
mod deadline;
mod error;
mod handover;
mod host;
mod inspect;
mod instance;
mod limits;
mod load;
mod pool;
pub mod recording;
pub mod replay;
mod runtime;
mod schema;
mod self_check;
mod slot;
mod state;
mod stop;
mod tape;
mod ticker;
mod verdict;
mod wit;

pub use component::{Component, Faults};
pub use contract::CONTRACT;
pub use error::LoadError;
pub use handover::{Beginning, Handover, Prepared};
pub use host::{Host, Level};
pub use inspect::Shape;
pub use limits::Limits;
pub use pool::Instances;
pub use runtime::Runtime;
pub use slot::{Holder, PrefixIndex, SlotUse};
