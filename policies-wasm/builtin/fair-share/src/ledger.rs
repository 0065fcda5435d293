//! Who had how much, who waits, and whose turn it is.

mod bytes;

use std::{collections::BTreeMap, fmt};

use headworks_policy::{Ended, Outcome};

use crate::{
    config::{Config, PARTS_PER_TOKEN},
    room::Room,
};

/// Requests that are known, at most; the oldest is forgotten first.
const REQUESTS_MAX: usize = 16_384;
/// A tenant none of whose waiting requests has been asked about for so long does not wait any more: the end of the last
/// was not told.
const WAITING_MS_MAX: u64 = 10_000;

/// The state of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    tenants: Vec<Tenant>,
    by_name: BTreeMap<String, u32>,
    requests: BTreeMap<u64, Entry>,
    /// The tenant that was the last to have nothing waiting any more.
    left_last: Option<u32>,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tenant {
    name: String,
    /// Parts it was charged.
    served: u64,
    waiting: u32,
    running: u32,
    asked_ms: u64,
}

/// A request that was asked about and has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tenant: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running { charged: u64, prompt_tokens: u32 },
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The request's id.
    pub request: u64,
    /// Whose it is.
    pub tenant: &'a str,
    /// Estimated.
    pub prompt_tokens: u32,
    /// In parts, estimated.
    pub cost: u64,
    /// Now.
    pub now_ms: u64,
}

/// Whether it is a request's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is.
    Go,
    /// It is nobody's business: there is no room to count it.
    Uncounted,
    /// Not yet.
    Wait(Why),
}

/// Why a request waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// No replica has room.
    NoRoom,
    /// Another tenant that waits has had less.
    Ahead {
        /// Whose request it is.
        tenant: String,
        /// By how many tokens.
        ahead_tokens: u64,
        /// Who is behind.
        of: String,
    },
}

impl Ledger {
    /// Whether it is this request's turn. If so it is charged; a request asked about again while it runs (it is tried
    /// elsewhere) has had its turn.
    pub fn ask(&mut self, asking: &Asking<'_>, room: Room, config: &Config) -> Turn {
        let known = self.requests.get(&asking.request).copied();
        if let Some(Entry { state: State::Running { .. }, .. }) = known {
            return Turn::Go;
        }
        let at = match known {
            Some(entry) => entry.tenant,
            None => match self.arrive(asking, config) {
                Some(at) => at,
                None => return Turn::Uncounted,
            },
        };
        self.tenants[at as usize].asked_ms = asking.now_ms;
        if room == Room::Full {
            return Turn::Wait(Why::NoRoom);
        }
        if let Some(why) = self.behind(at, asking.now_ms, config.quantum) {
            return Turn::Wait(why);
        }
        self.start(at, asking);
        Turn::Go
    }

    /// A request ended: what it cost is put right.
    pub fn ended(&mut self, ended: &Ended, config: &Config) {
        let Some(Entry { tenant, state }) = self.forget(ended.subject.request) else { return };
        let State::Running { charged, prompt_tokens } = state else { return };
        let usage = ended.usage;
        let ran = match ended.outcome {
            Outcome::Finished | Outcome::Cancelled => ended.replica.is_some(),
            Outcome::Failed | Outcome::Refused => usage.output_tokens > 0,
        };
        let prompt_tokens = match usage.prompt_tokens {
            0 if ran => prompt_tokens,
            told => told,
        };
        let tenant = &mut self.tenants[tenant as usize];
        let cost = config.cost(&tenant.name, prompt_tokens, usage.cached_tokens, usage.output_tokens);
        tenant.served = tenant.served.saturating_sub(charged).saturating_add(cost);
    }

    /// Tenants that are kept.
    pub fn tenants_now(&self) -> usize {
        self.tenants.len()
    }

    /// Requests that are known.
    pub fn requests_now(&self) -> usize {
        self.requests.len()
    }

    /// Counts a request in as waiting. One that comes back with nothing waiting is lifted to the least served of those
    /// that wait, so that nobody saves up by being away.
    fn arrive(&mut self, asking: &Asking<'_>, config: &Config) -> Option<u32> {
        let at = self.tenant(asking.tenant, config.tenants_max)?;
        if self.requests.len() >= REQUESTS_MAX
            && let Some(oldest) = self.requests.keys().next().copied()
        {
            self.forget(oldest);
        }
        if self.tenants[at as usize].waiting == 0 {
            let left_last = self.left_last.map(|last| &self.tenants[last as usize]);
            let least = self.least_waiting(at, asking.now_ms).or(left_last).map_or(0, |tenant| tenant.served);
            let tenant = &mut self.tenants[at as usize];
            tenant.served = tenant.served.max(least);
        }
        self.tenants[at as usize].waiting += 1;
        self.requests.insert(asking.request, Entry { tenant: at, state: State::Waiting });
        Some(at)
    }

    /// The tenant of a name, new or known; none when there is no room for another.
    fn tenant(&mut self, name: &str, tenants_max: usize) -> Option<u32> {
        if let Some(at) = self.by_name.get(name) {
            return Some(*at);
        }
        let tenant = Tenant { name: name.to_owned(), served: 0, waiting: 0, running: 0, asked_ms: 0 };
        let at = if self.tenants.len() < tenants_max {
            self.tenants.push(tenant);
            self.tenants.len() - 1
        } else {
            // Whoever had least loses least: it would be lifted when it comes back.
            let idle = self.tenants.iter().enumerate().filter(|(_, tenant)| tenant.waiting == 0 && tenant.running == 0);
            let at = idle.min_by_key(|(_, tenant)| tenant.served)?.0;
            self.by_name.remove(&self.tenants[at].name);
            self.left_last = self.left_last.filter(|last| *last as usize != at);
            self.tenants[at] = tenant;
            at
        };
        self.by_name.insert(name.to_owned(), at as u32);
        Some(at as u32)
    }

    /// The least served of the others that wait.
    fn least_waiting(&self, but: u32, now_ms: u64) -> Option<&Tenant> {
        let waits = |tenant: &Tenant| tenant.waiting > 0 && now_ms.saturating_sub(tenant.asked_ms) <= WAITING_MS_MAX;
        let others = (0..).zip(&self.tenants).filter(|(at, tenant)| *at != but && waits(tenant));
        others.map(|(_, tenant)| tenant).min_by_key(|tenant| tenant.served)
    }

    fn behind(&self, at: u32, now_ms: u64, quantum: u64) -> Option<Why> {
        let least = self.least_waiting(at, now_ms)?;
        let tenant = &self.tenants[at as usize];
        let ahead = tenant.served.saturating_sub(least.served);
        (ahead > quantum).then(|| Why::Ahead {
            tenant: tenant.name.clone(),
            ahead_tokens: ahead / PARTS_PER_TOKEN,
            of: least.name.clone(),
        })
    }

    fn start(&mut self, at: u32, asking: &Asking<'_>) {
        let tenant = &mut self.tenants[at as usize];
        tenant.waiting -= 1;
        tenant.running += 1;
        tenant.served = tenant.served.saturating_add(asking.cost);
        if tenant.waiting == 0 {
            self.left_last = Some(at);
        }
        let state = State::Running { charged: asking.cost, prompt_tokens: asking.prompt_tokens };
        self.requests.insert(asking.request, Entry { tenant: at, state });
    }

    fn forget(&mut self, request: u64) -> Option<Entry> {
        let entry = self.requests.remove(&request)?;
        let tenant = &mut self.tenants[entry.tenant as usize];
        match entry.state {
            State::Waiting => tenant.waiting -= 1,
            State::Running { .. } => tenant.running -= 1,
        }
        Some(entry)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoRoom => write!(f, "held: no replica has room"),
            Why::Ahead { tenant, ahead_tokens, of } => {
                write!(f, "held: {tenant} is {ahead_tokens} tokens ahead of {of}, who waits too")
            }
        }
    }
}

#[cfg(test)]
mod tests;
