//! Reads the clock; the only file of the proxy that does.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dispatch::Stopwatch;

/// A monotonic clock that also knows what the wall said when it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_unix_ms: u64,
}

impl Clock {
    pub fn start() -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Clock { start: Instant::now(), start_unix_ms: unix.as_millis() as u64 }
    }

    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Monotonic milliseconds since the start.
    pub fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Monotonic microseconds since the start.
    pub fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Milliseconds since 1970, never going back.
    pub fn now_unix_ms(&self) -> u64 {
        self.start_unix_ms + self.now_ms()
    }

    pub fn start_unix_ms(&self) -> u64 {
        self.start_unix_ms
    }
}

impl Stopwatch for Clock {
    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// A duration in whole microseconds, at most `u32::MAX`.
pub(crate) fn micros(duration: Duration) -> u32 {
    duration.as_micros().try_into().unwrap_or(u32::MAX)
}
