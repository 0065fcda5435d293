//! Whole runs with native policies: what they report, and what holds of every run.

#![expect(clippy::unwrap_used, reason = "a test ends where its helper cannot go on")]

mod natives;
mod properties;
mod runs;
