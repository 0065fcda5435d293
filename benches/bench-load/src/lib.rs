//! Sends a scenario's traffic to live endpoints and says how it went.
//!
//! A [`Scenario`] is what benches/scenarios/*.toml holds; [`drive`] plays it against OpenAI-compatible servers as a
//! closed loop; a [`Report`] has the counts and the percentiles. The same seed makes the same requests.

mod client;
mod drive;
mod prompts;
mod report;
mod scenario;
mod sse;

pub use client::get;
pub use drive::{Progress, Target, drive};
pub use prompts::{Ask, asks};
pub use report::{Percentiles, Report};
pub use scenario::{Fleet, Prompts, Scenario, ScenarioError, Traffic};
