//! The last resort: the least loaded replica that takes work. It cannot fail.

use std::sync::atomic::{AtomicUsize, Ordering};

use policy_api::{Answer, FleetView, ReplicaId, Words};

use crate::{Target, Tried};

/// The fallback's name, where a policy's name would stand.
pub const FALLBACK_NAME: &str = "native-least-load";

/// Picks the least loaded replica; equals take turns.
#[derive(Debug, Default)]
pub struct Fallback {
    turn: AtomicUsize,
}

impl Fallback {
    /// The replica with the least load for its weight among those that take work and were not tried.
    pub fn place(&self, fleet: &FleetView, tried: &Tried) -> Answer<Target> {
        let free = |row: &usize| fleet.takes_work(*row) && !tried.replicas.contains(&ReplicaId(fleet.id[*row]));
        let rows = || (0..fleet.len()).filter(free);
        let Some(least) = rows().map(|row| load_of(fleet, row)).min_by(Load::cmp) else {
            return saying("no replica takes work".to_owned(), Target::Nobody);
        };
        let equals = rows().filter(|row| load_of(fleet, *row).cmp(&least).is_eq()).count();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % equals;
        let row = rows()
            .filter(|row| load_of(fleet, *row).cmp(&least).is_eq())
            .nth(turn)
            .expect("`turn` is below the number of rows that pass the same filter");
        let reason =
            format!("least load: {} of {} replicas with {} at work", fleet.id[row], fleet.len(), least.requests);
        saying(reason, Target::Replica(ReplicaId(fleet.id[row])))
    }
}

fn saying(reason: String, target: Target) -> Answer<Target> {
    Answer { verdict: target, words: Words { reason: Some(reason), ..Words::default() } }
}

/// Requests over capacity, compared without division.
struct Load {
    requests: u64,
    weight: u64,
}

impl Load {
    /// By what the load would be with this request added, so that weights count on an idle fleet too.
    fn cmp(&self, other: &Load) -> std::cmp::Ordering {
        ((self.requests + 1) * other.weight).cmp(&((other.requests + 1) * self.weight))
    }
}

fn load_of(fleet: &FleetView, row: usize) -> Load {
    Load {
        requests: u64::from(fleet.running[row]) + u64::from(fleet.waiting[row]),
        weight: u64::from(fleet.weight[row].max(1)),
    }
}

#[cfg(test)]
mod tests;
