//! Sends requests to servers over HTTP/1.1 and HTTP/2, in the clear or by TLS, on connections that are kept.
//!
//! A connection of HTTP/1.1 has no task of its own: whoever waits for the answer reads it. So a request costs no channel
//! and no wake of another task, and an answer that is dropped closes its connection at once. A connection of HTTP/2 is
//! shared by many, and so has a task.

mod connection;
mod error;
mod head;
mod incoming;
mod io;
mod multiplexed;
mod origin;
mod outgoing;
mod pool;
mod reader;
mod room;
mod server;
mod tls;
mod upgraded;
mod write;

pub use error::Error;
pub use incoming::Incoming;
pub use origin::{Http2, Origin, Secure};
pub use outgoing::Outgoing;
pub use pool::use_shard;
pub use server::{Again, Bounds, Server};
pub use tls::Trust;
pub use upgraded::Upgraded;
