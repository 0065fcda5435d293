//! Reads the clock: the one place of this crate that does.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

static START: LazyLock<(Instant, SystemTime)> = LazyLock::new(|| (Instant::now(), SystemTime::now()));

/// Now, for measuring.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day that an instant had, for people and spans.
pub(crate) fn wall(at: Instant) -> SystemTime {
    let (instant, system) = *START;
    system + at.saturating_duration_since(instant) - instant.saturating_duration_since(at)
}

/// Unix time of an instant.
pub(crate) fn unix(at: Instant) -> Duration {
    wall(at).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
