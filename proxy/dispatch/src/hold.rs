//! Keeps the requests that policies hold, and says whose turn it is when the fleet changes.
//!
//! The more urgent come first; among equals tenants take turns by the tokens of their requests (deficit round robin:
//! Shreedhar and Varghese, 1996), so that one who sends much waits for itself. One request is asked about at a time, and
//! each that is placed makes way for the next one: as many leave as there is room for, and one more is asked for each
//! tenant and model that there is none for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Names a held request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldId(pub u64);

/// A request that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose it is.
    pub tenant: Arc<str>,
    /// What it asks for; one model may have room where another has none.
    pub model: Arc<str>,
    /// Higher is more urgent.
    pub priority: u32,
    /// What it costs, about.
    pub tokens: u32,
    /// Monotonic milliseconds.
    pub since_ms: u64,
}

/// What became of a request that was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is held as before.
    StillHeld,
    /// It was placed: there was room.
    Placed,
    /// It was turned away, or its client left: that says nothing of the room.
    Gone,
}

/// One tenant's held requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantHeld {
    /// Whose they are.
    pub tenant: Arc<str>,
    /// How many.
    pub waiting: u32,
    /// About how many tokens.
    pub tokens: u64,
    /// Monotonic milliseconds of the oldest.
    pub oldest_ms: u64,
}

/// Tokens a tenant may spend in its turn.
const QUANTUM_TOKENS: u64 = 2048;
/// Placements that the drain rate is measured by.
const DRAINED_MAX: usize = 32;
/// Longest wait that a client is told, and what it is told where nothing has been placed yet.
const RETRY_S_MAX: u64 = 60;
const RETRY_S_UNKNOWN: u64 = 1;

/// The queue.
#[derive(Debug, Default)]
pub struct HoldQueue {
    /// By urgency, most urgent first.
    levels: BTreeMap<std::cmp::Reverse<u32>, Level>,
    held: BTreeMap<HeldId, Held>,
    names: u64,
    /// Changes so far; a group that was asked since the last one is not asked again.
    changes: u64,
    asked: Option<HeldId>,
    /// When the last requests were placed.
    drained_ms: VecDeque<u64>,
}

/// Requests of one urgency: tenants in their order of turns.
#[derive(Debug, Default)]
struct Level {
    turns: VecDeque<Turn>,
}

#[derive(Debug)]
struct Turn {
    tenant: Arc<str>,
    /// Tokens that it may still spend.
    deficit: u64,
    waiting: VecDeque<HeldId>,
    /// The change at which each of its models was found to have no room.
    full: BTreeMap<Arc<str>, u64>,
}

impl HoldQueue {
    /// Held requests.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes a request in, behind those of its tenant.
    pub fn push(&mut self, held: Held) -> HeldId {
        self.names += 1;
        let id = HeldId(self.names);
        let level = self.levels.entry(std::cmp::Reverse(held.priority)).or_default();
        let at = level.turns.iter().position(|turn| turn.tenant == held.tenant).unwrap_or_else(|| {
            level.turns.push_back(Turn::of(held.tenant.clone()));
            level.turns.len() - 1
        });
        let turn = &mut level.turns[at];
        turn.waiting.push_back(id);
        // It has just been held: without a change it would be again.
        turn.full.insert(held.model.clone(), self.changes);
        self.held.insert(id, held);
        id
    }

    /// Whether a new request must wait behind others like it without being asked about.
    pub fn is_behind(&self, tenant: &str, model: &str, priority: u32) -> bool {
        let same = |held: &&Held| &*held.tenant == tenant && &*held.model == model && held.priority >= priority;
        self.held.values().any(|held| same(&held))
    }

    /// The fleet has changed: there may be room.
    pub fn changed(&mut self) {
        self.changes += 1;
    }

    /// Whose turn it is; nobody's while one is being asked about.
    pub fn ask_next(&mut self) -> Option<HeldId> {
        if self.asked.is_some() {
            return None;
        }
        let HoldQueue { levels, held, changes, .. } = self;
        self.asked = levels.values_mut().find_map(|level| level.next(held, *changes));
        self.asked
    }

    /// What became of a request: the one that was asked about, or one that left.
    pub fn settle(&mut self, id: HeldId, asked: Asked, now_ms: u64) {
        if self.asked == Some(id) {
            self.asked = None;
        }
        let Some(held) = self.held.get(&id) else { return };
        let Some(level) = self.levels.get_mut(&std::cmp::Reverse(held.priority)) else { return };
        let Some(at) = level.turns.iter().position(|turn| turn.tenant == held.tenant) else { return };
        let turn = &mut level.turns[at];
        if asked == Asked::StillHeld {
            turn.full.insert(held.model.clone(), self.changes);
            return;
        }
        turn.waiting.retain(|waiting| *waiting != id);
        if asked == Asked::Placed {
            turn.deficit = turn.deficit.saturating_sub(held.cost());
            self.drained_ms.push_back(now_ms);
            if self.drained_ms.len() > DRAINED_MAX {
                self.drained_ms.pop_front();
            }
        }
        if turn.waiting.is_empty() {
            level.turns.remove(at);
        }
        if level.turns.is_empty() {
            self.levels.remove(&std::cmp::Reverse(held.priority));
        }
        self.held.remove(&id);
    }

    /// Seconds after which a client that finds no place may come again: when those before it will have left, as fast as
    /// they did lately.
    pub fn retry_after_s(&self, now_ms: u64) -> u64 {
        let Some(first_ms) = self.drained_ms.front() else { return RETRY_S_UNKNOWN };
        let took_ms = now_ms.saturating_sub(*first_ms).max(1);
        let wait_ms = took_ms * (self.held.len() as u64 + 1) / self.drained_ms.len() as u64;
        wait_ms.div_ceil(1000).clamp(1, RETRY_S_MAX)
    }

    /// Placed requests a second, lately.
    pub fn drain_per_s(&self, now_ms: u64) -> f64 {
        let Some(first_ms) = self.drained_ms.front() else { return 0.0 };
        self.drained_ms.len() as f64 * 1000.0 / now_ms.saturating_sub(*first_ms).max(1) as f64
    }

    /// The tenants that have requests here.
    pub fn tenants(&self) -> Vec<TenantHeld> {
        let mut tenants: BTreeMap<&Arc<str>, TenantHeld> = BTreeMap::new();
        for Held { tenant, tokens, since_ms, .. } in self.held.values() {
            let sum = tenants.entry(tenant).or_insert_with(|| TenantHeld {
                tenant: tenant.clone(),
                waiting: 0,
                tokens: 0,
                oldest_ms: *since_ms,
            });
            sum.waiting += 1;
            sum.tokens += u64::from(*tokens);
            sum.oldest_ms = sum.oldest_ms.min(*since_ms);
        }
        tenants.into_values().collect()
    }
}

impl Held {
    /// Nothing is free.
    fn cost(&self) -> u64 {
        u64::from(self.tokens.max(1))
    }
}

impl Level {
    /// The next request that may find room: of the first tenant that can pay for it, each getting a quantum a round.
    fn next(&mut self, held: &BTreeMap<HeldId, Held>, changes: u64) -> Option<HeldId> {
        let candidate = |turn: &Turn| turn.waiting.iter().copied().find(|id| turn.may_ask(&held[id], changes));
        if !self.turns.iter().any(|turn| candidate(turn).is_some()) {
            return None;
        }
        loop {
            let turn = self.turns.front_mut()?;
            match candidate(turn) {
                Some(id) if turn.deficit >= held[&id].cost() => return Some(id),
                Some(_) => turn.deficit += QUANTUM_TOKENS,
                // Credit is for those who could use it.
                None => turn.deficit = 0,
            }
            self.turns.rotate_left(1);
        }
    }
}

impl Turn {
    fn of(tenant: Arc<str>) -> Turn {
        Turn { tenant, deficit: 0, waiting: VecDeque::new(), full: BTreeMap::new() }
    }

    fn may_ask(&self, held: &Held, changes: u64) -> bool {
        self.full.get(&held.model).is_none_or(|full| *full < changes)
    }
}

#[cfg(test)]
mod tests;
