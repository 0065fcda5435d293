//! Sends requests to servers over HTTP/1.1, on connections that are kept.
//!
//! A connection has no task of its own: whoever waits for the answer reads it. So a request costs no channel and no wake
//! of another task, and an answer that is dropped closes its connection at once.

mod client;
mod connection;
mod error;
mod head;
mod incoming;
mod pool;
mod reader;
mod write;

pub use client::{Again, Bounds, Upstream};
pub use error::Error;
pub use incoming::Incoming;
pub use pool::use_shard;
