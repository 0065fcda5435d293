//! What the process around the runtime lends it: a clock and places for lines and numbers.

use serde::{Deserialize, Serialize};

use crate::recording::Record;

/// Lent by the process: proxy, simulator or `policy test`. All but `wait` is called from within a
/// policy's call, so it must not wait.
pub trait Host: Send + Sync {
    /// Monotonic milliseconds, for calls that carry no time of their own (loading).
    fn now_ms(&self) -> u64;
    /// A line a policy wrote; already bounded in bytes and in lines per call.
    fn log(&self, slot: &str, level: Level, line: &str);
    /// Adds to a policy's counter. `name` is `[a-z0-9_]+`; distinct names are bounded per slot.
    fn count(&self, slot: &str, name: &str, delta: u64);
    /// Sets a policy's gauge. `name` is `[a-z0-9_]+`; distinct names are bounded per slot.
    fn gauge(&self, slot: &str, name: &str, value: f64);
    /// Runs `wait`, in which a call waits for an instance: at most [`crate::Limits::single_wait_ms`]. A process whose
    /// threads have other work hands that over first. Called between calls of policies, only when there is none free.
    fn wait(&self, wait: &mut dyn FnMut()) {
        wait();
    }
    /// Which recording calls are written to now, counted from 1 in the life of the process; 0 for none. Asked before
    /// every call, so it must cost next to nothing.
    fn recording(&self) -> u64 {
        0
    }
    /// Takes a record of what has happened, where calls are recorded. Must not wait.
    fn record(&self, _record: Record) {}
}

/// How grave a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For the policy's author.
    Debug,
    /// For the operator.
    Info,
    /// Something is off.
    Warn,
    /// Something failed.
    Error,
}
