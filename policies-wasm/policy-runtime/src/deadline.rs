//! Says whether a call that runs late may go on: by the time it had on a core, not by the time that passed.
//!
//! An operating system takes threads off their core for longer than a call may last. The epoch counts that time too, so
//! when a call's epochs are over, this measures the thread's own CPU time from then on. A call that returns in time,
//! as nearly all do, never pays for reading a clock. A loop ends after at most twice its deadline on a core.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Trap, UpdateDeadline};

/// One call's deadline.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    allowed_ms: Cell<u32>,
    /// The thread's CPU time when the call's epochs were over for the first time.
    late_since: Cell<Option<Duration>>,
}

impl Deadline {
    /// A call begins.
    pub(crate) fn begin(&self, allowed_ms: u32) {
        self.allowed_ms.set(allowed_ms.max(1));
        self.late_since.set(None);
    }

    /// How many more epochs the call may have at this CPU time of its thread; none: it is over.
    fn more_epochs(&self, cpu_now: Duration) -> Option<u64> {
        let allowed = Duration::from_millis(self.allowed_ms.get().into());
        let Some(since) = self.late_since.get() else {
            self.late_since.set(Some(cpu_now));
            return Some(self.allowed_ms.get().into());
        };
        let left = allowed.checked_sub(cpu_now.saturating_sub(since))?;
        (!left.is_zero()).then(|| (left.as_millis() as u64).max(1))
    }
}

/// What wasmtime asks when a call's epochs are over.
pub(crate) fn passed(deadline: &Deadline) -> wasmtime::Result<UpdateDeadline> {
    match deadline.more_epochs(thread_cpu_time()) {
        Some(epochs) => Ok(UpdateDeadline::Continue(epochs)),
        None => Err(Trap::Interrupt.into()),
    }
}

fn thread_cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[track_caller]
    fn check(looks_at_cpu_ms: &[u64], expected: &[Option<u64>]) {
        let deadline = Deadline::default();
        deadline.begin(5);
        let found: Vec<Option<u64>> = looks_at_cpu_ms.iter().map(|now| deadline.more_epochs(ms(*now))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_loop_ends_after_its_deadline_on_a_core() {
        check(&[100, 105], &[Some(5), None]);
        check(&[100, 112], &[Some(5), None]);
    }

    #[test]
    fn a_thread_that_was_off_its_core_is_given_what_it_missed() {
        check(&[100, 100, 101, 103, 105], &[Some(5), Some(5), Some(4), Some(2), None]);
    }

    #[test]
    fn the_next_call_begins_anew() {
        let deadline = Deadline::default();
        deadline.begin(5);
        assert_eq!(deadline.more_epochs(ms(1)), Some(5));
        deadline.begin(7);
        assert_eq!(deadline.more_epochs(ms(50)), Some(7));
    }
}
