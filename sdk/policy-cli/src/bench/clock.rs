//! Times one call; the only file of the verbs that reads the clock inside a loop.

use std::time::Instant;

/// Readings that say what reading the clock costs by itself.
const CALIBRATIONS: usize = 1_001;

/// A clock that knows its own cost.
pub(super) struct Clock {
    own_ns: u64,
}

impl Clock {
    pub(super) fn calibrated() -> Clock {
        let mut costs: Vec<u64> = (0..CALIBRATIONS).map(|_| time(|| ()).1).collect();
        costs.sort_unstable();
        Clock { own_ns: costs[CALIBRATIONS / 2] }
    }

    /// What a call gives, and how long it took without the clock's own time.
    pub(super) fn time<T>(&self, call: impl FnOnce() -> T) -> (T, u64) {
        let (given, ns) = time(call);
        (given, ns.saturating_sub(self.own_ns))
    }
}

fn time<T>(call: impl FnOnce() -> T) -> (T, u64) {
    let began = Instant::now();
    let given = std::hint::black_box(call());
    (given, began.elapsed().as_nanos() as u64)
}
