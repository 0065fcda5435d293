//! The proxy over real sockets, between clients and replicas that the tests script.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod fixture;

mod admin;
mod bad_input;
mod breaker;
mod check;
mod connections;
mod endpoints;
mod failures;
mod fleet;
mod heads;
mod health;
mod hedge;
mod hold;
mod hops;
mod http2;
mod keys;
mod kinds;
mod kubernetes;
mod leaving;
mod lifecycle;
mod pass_through;
mod policies;
mod reload;
mod resume;
mod streaming;
mod swap;
mod tenants;
mod tls;
mod traces;
mod trust;
mod upgrade;
mod upstream_tls;
mod watch;
