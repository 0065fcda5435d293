//! The proxy over real sockets, between clients and replicas that the tests script.

mod fixture;

mod admin;
mod bad_input;
mod failures;
mod health;
mod pass_through;
mod policies;
mod streaming;
mod tls;
