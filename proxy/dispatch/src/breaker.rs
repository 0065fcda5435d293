//! Says whether a replica that fails requests gets further ones: closed, open for a while, then on trial.
//!
//! What the replica did counts, not what its clients asked: a refusal of theirs is a good answer. Back-pressure is no
//! failure either; it passes the replica over for a while. A look at a replica's health says more than its last requests
//! do: one that has come back starts anew.

/// When a replica is taken out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRules {
    /// Failures in a row that open it.
    pub failures_max: u32,
    /// How long it is open at first; twice as long each time that a trial fails.
    pub open_ms: u64,
    /// And at most.
    pub open_ms_max: u64,
    /// How long back-pressure passes the replica over, at most; a tenth where the replica names no time.
    pub busy_ms_max: u64,
}

/// What a replica did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// It answered.
    Good,
    /// It could not be reached, broke off, was too slow or said that it is at fault.
    Failed,
    /// It has no room, for so long if it says so.
    Busy {
        /// Of its `Retry-After`.
        retry_after_ms: Option<u64>,
    },
    /// Nobody waited for it.
    Unknown,
}

/// How a replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes requests.
    Closed,
    /// It takes none since then.
    Open {
        /// Monotonic milliseconds.
        since_ms: u64,
    },
    /// It takes one; what becomes of that decides.
    HalfOpen,
    /// It is on trial with a request already.
    OnTrial,
    /// It has said that it has no room.
    Busy,
}

/// Calls that a share of failures is judged by, and how many of them open the breaker.
const WINDOW_CALLS: u32 = 20;
const WINDOW_FAILURES_MAX: u32 = 10;
/// Doublings after which a time does not grow any more.
const DOUBLINGS_MAX: u32 = 20;

/// One replica's breaker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures_in_row: u32,
    /// The last calls since it was calm, a bit each, 1 for a failure; the newest is the lowest.
    window: u32,
    window_calls: u32,
    open: Option<Open>,
    busy_until_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    since_ms: u64,
    until_ms: u64,
    /// Trials that have failed since it was closed.
    trials_failed: u32,
    on_trial: bool,
}

impl Breaker {
    /// Nothing has happened that would matter: further good answers need not be counted.
    pub fn is_calm(&self) -> bool {
        *self == Breaker::default()
    }

    /// How the replica stands now.
    pub fn standing(&self, now_ms: u64) -> Standing {
        match self.open {
            Some(Open { since_ms, until_ms, .. }) if now_ms < until_ms => Standing::Open { since_ms },
            Some(Open { on_trial: true, .. }) => Standing::OnTrial,
            Some(_) => Standing::HalfOpen,
            None if now_ms < self.busy_until_ms => Standing::Busy,
            None => Standing::Closed,
        }
    }

    /// Takes note that a request is sent. One that is sent though it is open decides nothing.
    pub fn begins(&mut self, now_ms: u64) {
        if let Some(open) = &mut self.open {
            open.on_trial |= now_ms >= open.until_ms;
        }
    }

    /// Counts what became of a request. Says whether the replica stands otherwise by it.
    pub fn count(&mut self, now_ms: u64, conduct: Conduct, rules: &BreakerRules) -> bool {
        let before = self.standing(now_ms);
        match conduct {
            Conduct::Good => self.good(now_ms),
            Conduct::Failed => self.failed(now_ms, rules),
            Conduct::Busy { retry_after_ms } => {
                let wait_ms = retry_after_ms.unwrap_or(rules.busy_ms_max / 10).min(rules.busy_ms_max);
                self.busy_until_ms = self.busy_until_ms.max(now_ms + wait_ms);
                // It lives, which is what a trial is about.
                self.good(now_ms);
            }
            Conduct::Unknown => {
                if let Some(open) = &mut self.open {
                    open.on_trial = false;
                }
            }
        }
        self.standing(now_ms) != before
    }

    /// Takes the replica out for a reason that no single request shows.
    pub fn eject(&mut self, now_ms: u64, rules: &BreakerRules) {
        let trials_failed = self.open.map_or(0, |open| open.trials_failed + 1);
        let doubled = rules.open_ms.saturating_mul(1 << trials_failed.min(DOUBLINGS_MAX));
        let since_ms = self.open.map_or(now_ms, |open| open.since_ms);
        let until_ms = now_ms + doubled.min(rules.open_ms_max);
        self.open = Some(Open { since_ms, until_ms, trials_failed, on_trial: false });
    }

    fn good(&mut self, now_ms: u64) {
        // What was sent before it opened is no trial.
        if self.open.is_some_and(|open| now_ms < open.until_ms) {
            return;
        }
        self.open = None;
        self.failures_in_row = 0;
        self.shift(0);
        if self.window == 0 {
            self.window_calls = 0;
        }
        if self.busy_until_ms <= now_ms {
            self.busy_until_ms = 0;
        }
    }

    fn failed(&mut self, now_ms: u64, rules: &BreakerRules) {
        match self.open {
            Some(open) if now_ms < open.until_ms => return,
            Some(_) => return self.eject(now_ms, rules),
            None => {}
        }
        self.failures_in_row += 1;
        self.shift(1);
        let too_often = self.window_calls >= WINDOW_CALLS && self.window.count_ones() >= WINDOW_FAILURES_MAX;
        if self.failures_in_row >= rules.failures_max || too_often {
            *self = Breaker { busy_until_ms: self.busy_until_ms, ..Breaker::default() };
            self.eject(now_ms, rules);
        }
    }

    fn shift(&mut self, failure: u32) {
        self.window = (self.window << 1 | failure) & ((1 << WINDOW_CALLS) - 1);
        self.window_calls = (self.window_calls + 1).min(WINDOW_CALLS);
    }
}

/// Of these replicas, which are left out of the fleet: those that are open, longest first, but never more than a share.
pub fn ejected(standings: &[Standing], percent_max: u32) -> Vec<bool> {
    let most = standings.len() * percent_max.min(100) as usize / 100;
    let mut open: Vec<(u64, usize)> = standings
        .iter()
        .enumerate()
        .filter_map(|(row, standing)| match standing {
            Standing::Open { since_ms } => Some((*since_ms, row)),
            // Its trial goes on: a second request would be too many.
            Standing::OnTrial => Some((0, row)),
            Standing::Closed | Standing::HalfOpen | Standing::Busy => None,
        })
        .collect();
    open.sort_unstable();
    let mut out = vec![false; standings.len()];
    open.into_iter().take(most).for_each(|(_, row)| out[row] = true);
    out
}

/// Replicas whose time to first token is this many times the fleet's median; 0 is a time that is not known. Three
/// must be known before one of them can stand out.
pub fn slow_ones(ttft_us: &[u32], times_max: u32) -> Vec<usize> {
    let mut known: Vec<u32> = ttft_us.iter().copied().filter(|ttft| *ttft > 0).collect();
    if known.len() < 3 || times_max == 0 {
        return Vec::new();
    }
    let middle = (known.len() - 1) / 2;
    let median = u64::from(*known.select_nth_unstable(middle).1);
    let is_slow = |ttft: u32| u64::from(ttft) > median * u64::from(times_max);
    ttft_us.iter().enumerate().filter(|(_, ttft)| is_slow(**ttft)).map(|(row, _)| row).collect()
}

#[cfg(test)]
mod tests;
