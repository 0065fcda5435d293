//! Measures proxies between a load of its own and replicas of its own: what a request costs them, and what it waits.
//!
//! Both ends are one thread over epoll each, so that on a small machine the proxy is what is busy. They check what
//! passes: a proxy that loses, cuts or reframes an answer is not fast but wrong.

pub mod cases;
pub mod client;
mod http;
pub mod mock;
pub mod peers;
pub mod process;
pub mod profile;
pub mod prompts;
pub mod report;
pub mod run;
pub mod soak;
