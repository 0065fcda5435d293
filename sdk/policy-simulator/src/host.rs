//! What a simulation lends its policies: virtual time, and a memory for what they write.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use policy_runtime::{Host, Level};

/// Log lines kept; older ones go first.
const LINES_MAX: usize = 256;

/// A host whose clock is set by hand.
#[derive(Debug, Default)]
pub struct VirtualHost {
    now_ms: AtomicU64,
    written: Mutex<Written>,
}

/// What policies wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// Log lines, oldest first: `level: line`.
    pub lines: VecDeque<String>,
    /// Counters by name.
    pub counters: BTreeMap<String, u64>,
    /// Gauges by name.
    pub gauges: BTreeMap<String, f64>,
}

impl VirtualHost {
    /// Moves the clock; time never runs backwards.
    pub fn set_now_ms(&self, now_ms: u64) {
        let before = self.now_ms.swap(now_ms, Ordering::Relaxed);
        debug_assert!(before <= now_ms, "time never runs backwards");
    }

    /// Takes what was written since the last call.
    pub fn take_written(&self) -> Written {
        std::mem::take(&mut *self.written())
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for VirtualHost {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn log(&self, _slot: &str, level: Level, line: &str) {
        let lines = &mut self.written().lines;
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        lines.push_back(format!("{level}: {line}"));
    }

    fn count(&self, _slot: &str, name: &str, delta: u64) {
        let counters = &mut self.written().counters;
        *counters.entry(name.to_owned()).or_default() += delta;
    }

    fn gauge(&self, _slot: &str, name: &str, value: f64) {
        self.written().gauges.insert(name.to_owned(), value);
    }
}
