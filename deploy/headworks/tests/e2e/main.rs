//! The real processes, as a user starts them: engines, proxies, the official client, a collector, a browser.
//!
//! `cargo xtask test` installs what these need and names it in `HEADWORKS_TEST_*`.

#![expect(clippy::unwrap_used, reason = "a test ends where its helper cannot go on")]

mod bad_input;
mod bench_proxy;
mod client;
mod dashboard;
mod demo;
mod docs;
mod faults;
mod fleet;
mod handover;
mod help;
mod http;
mod policy_verbs;
mod processes;
mod push;
mod registry;
mod replay;
mod restart;
mod storm;
mod swap;
mod traces;
