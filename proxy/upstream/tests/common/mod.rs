//! What the tests have in common: bounds, and servers' addresses.

use std::net::SocketAddr;
use std::time::Duration;

use upstream::{Bounds, Http2, Origin};

pub const BOUNDS: Bounds = Bounds {
    connect_time_max: Duration::from_secs(5),
    connections_max: 8,
    wait_time_max: Duration::from_secs(60),
    streams_max: 4,
    idle_max: 4,
    idle_time_max: Duration::from_secs(60),
    threads: 1,
};

/// A server in the clear.
pub fn plain(address: SocketAddr) -> Origin {
    Origin { authority: address.to_string().parse().expect("an address"), secure: None, http2: Http2::Auto }
}
