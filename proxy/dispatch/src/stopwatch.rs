//! Where the time that a call takes comes from: this crate reads no clock.

/// Measures calls of policies.
pub trait Stopwatch: Send + Sync {
    /// Monotonic nanoseconds from an unspecified start.
    fn now_ns(&self) -> u64;
}

/// Stands still: for those who replay from a seed, where every call takes no time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stopped;

impl Stopwatch for Stopped {
    fn now_ns(&self) -> u64 {
        0
    }
}
