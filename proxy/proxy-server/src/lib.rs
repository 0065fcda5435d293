//! The proxy: takes OpenAI requests on one port, lets policies place them, relays them to replicas; the other port is
//! for operators.

mod config;
mod serve;

mod data;
mod discovery;
mod exchange;

mod decisions;
mod fleet;
mod hold;
mod live;
mod observe;
mod policies;
mod proxy;
mod recorder;
mod reload;
mod tenants;
mod traffic;
mod upstream;

mod admin;
mod metrics;
mod readiness;

mod base_url;
mod clock;
mod listen;
mod sockets;
mod stamp;
mod tasks;
mod tls;
mod wire;
mod workers;

pub use config::{Config, ConfigError, Limits};
pub use serve::{Bound, Error, check, serve, serve_on};
pub use sockets::{Given, Sockets};
pub use tenants::NewKey;
