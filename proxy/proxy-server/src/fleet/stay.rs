//! How long a replica stays: until it is let go, or until its lease ends; and, once it leaves, until its requests end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

/// A time that never comes.
const NEVER: u64 = u64::MAX;
/// A replica that leaves is kept for at least so long: a decision that was made by an older view still finds it.
const LEAVE_MS_LEAST: u64 = 1000;

/// Who says that a replica is of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// `[[replica]]`.
    Config,
    /// A `[[discovery]]`, by its name.
    Discovery(Arc<str>),
    /// The replica itself, by a lease.
    Lease,
    /// An operator, by the admin API.
    Admin,
}

/// A replica's stay.
pub(crate) struct Stay {
    pub source: Source,
    lease_until_ms: AtomicU64,
    leaves_since_ms: AtomicU64,
    /// An operator wants nothing new sent to it.
    is_held_back: AtomicBool,
    gone: watch::Sender<bool>,
}

impl Stay {
    pub fn of(source: Source) -> Stay {
        Stay {
            source,
            lease_until_ms: AtomicU64::new(NEVER),
            leaves_since_ms: AtomicU64::new(NEVER),
            is_held_back: AtomicBool::new(false),
            gone: watch::Sender::new(false),
        }
    }

    /// It takes nothing new.
    pub fn drains(&self) -> bool {
        self.is_held_back() || self.leaves()
    }

    pub fn is_held_back(&self) -> bool {
        self.is_held_back.load(Ordering::Acquire)
    }

    pub fn hold_back(&self, is_held_back: bool) {
        self.is_held_back.store(is_held_back, Ordering::Release);
    }

    pub fn leaves(&self) -> bool {
        self.leaves_since_ms.load(Ordering::Acquire) != NEVER
    }

    /// It is to go. Says whether it was to stay before.
    pub fn leave(&self, now_ms: u64) -> bool {
        self.leaves_since_ms.compare_exchange(NEVER, now_ms, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// It is wanted again.
    pub fn come_back(&self) {
        self.leaves_since_ms.store(NEVER, Ordering::Release);
    }

    /// Whether it may be forgotten: it leaves, and nobody waits for it any more, or for too long already.
    pub fn is_over(&self, now_ms: u64, in_flight: u32, drain_ms_max: u64) -> bool {
        let since_ms = self.leaves_since_ms.load(Ordering::Acquire);
        let left_ms = now_ms.saturating_sub(since_ms);
        since_ms != NEVER && left_ms >= LEAVE_MS_LEAST && (in_flight == 0 || left_ms >= drain_ms_max)
    }

    /// It stays until then, if it says no more.
    pub fn lease(&self, until_ms: u64) {
        self.lease_until_ms.store(until_ms, Ordering::Release);
    }

    /// What is left of its lease; `None` where it needs none.
    pub fn lease_left_ms(&self, now_ms: u64) -> Option<u64> {
        let until_ms = self.lease_until_ms.load(Ordering::Acquire);
        (until_ms != NEVER).then(|| until_ms.saturating_sub(now_ms))
    }

    /// Ends the looking at it.
    pub fn end(&self) {
        self.gone.send_replace(true);
    }

    /// Waits until it is gone.
    pub async fn gone(&self) {
        // The sender is ours, so there is no error.
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Config => f.write_str("config"),
            Source::Discovery(name) => f.write_str(name),
            Source::Lease => f.write_str("lease"),
            Source::Admin => f.write_str("admin"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_leaves_is_kept_while_it_works_but_not_for_ever() {
        let stay = Stay::of(Source::Config);
        assert!(!stay.is_over(NEVER, 0, 0), "it stays");
        assert!(stay.leave(100));
        assert!(!stay.leave(200), "it leaves already");
        let check =
            |now_ms, in_flight, expected| assert_eq!(stay.is_over(now_ms, in_flight, 5000), expected, "{now_ms}");
        check(1099, 0, false);
        check(1100, 0, true);
        check(1100, 1, false);
        check(5100, 1, true);
        stay.come_back();
        check(9000, 0, false);
    }

    #[test]
    fn a_lease_runs_out_unless_it_is_renewed() {
        let stay = Stay::of(Source::Lease);
        assert_eq!(stay.lease_left_ms(0), None);
        stay.lease(500);
        assert_eq!(stay.lease_left_ms(200), Some(300));
        stay.lease(900);
        assert_eq!(stay.lease_left_ms(901), Some(0));
    }

    #[test]
    fn who_is_held_back_or_leaves_drains() {
        let stay = Stay::of(Source::Admin);
        assert!(!stay.drains());
        stay.hold_back(true);
        assert!(stay.drains() && !stay.leaves());
        stay.hold_back(false);
        stay.leave(1);
        assert!(stay.drains());
    }
}
