//! A simulator of policies over fleets: discrete events around the real dispatch.

mod host;

pub use host::{VirtualHost, Written};
