//! KV blocks as numbers: who holds which block, which blocks already hold a prompt's prefix, and what to evict.
//!
//! No tensor and no device: a [`BlockId`] is an index that the model's cache understands.

mod chain;
mod free;
mod pool;
mod table;

pub use pool::{BlockPool, Counters, OutOfBlocks, PoolConfig};
pub use table::{BlockId, BlockTable};

#[cfg(test)]
mod tests;
