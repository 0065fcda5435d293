//! The last decisions and what became of them, in a ring.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch::{By, PolicyCall};

use crate::exchange::Outcome;

/// Calls kept of one request: a held one is asked again and again.
pub(crate) const CALLS_MAX: usize = 64;

/// One decision and what became of its request.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub id: u64,
    pub time_ms: u64,
    /// The answer's `x-request-id`, as much of it as is kept of a name.
    pub request_id: String,
    pub trace_id: Option<String>,
    pub endpoint: Arc<str>,
    pub model: Arc<str>,
    pub tenant: Arc<str>,
    pub stream: bool,
    pub by: By,
    /// Every call of a policy about it, in order; at most [`CALLS_MAX`].
    pub calls: Vec<PolicyCall>,
    /// [`policy_api::RequestFacts::digest`].
    pub facts_digest: u64,
    /// Of the fleet that the decision was made on.
    pub fleet_version: u64,
    /// A canary decided.
    pub is_canary: bool,
    pub verdict: &'static str,
    pub target: Option<String>,
    pub reason: Option<String>,
    pub decide_us: u32,
    pub attempts: u32,
    pub faults: Vec<String>,
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub prompt_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    pub ttft_ms: Option<f64>,
    pub duration_ms: Option<f64>,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            id: 0,
            time_ms: 0,
            request_id: String::new(),
            trace_id: None,
            endpoint: Arc::default(),
            model: Arc::default(),
            tenant: Arc::default(),
            stream: false,
            by: By::Fallback,
            calls: Vec::new(),
            facts_digest: 0,
            fleet_version: 0,
            is_canary: false,
            verdict: "none",
            target: None,
            reason: None,
            decide_us: 0,
            attempts: 0,
            faults: Vec::new(),
            outcome: Outcome::Running,
            status: None,
            prompt_tokens: None,
            output_tokens: None,
            ttft_ms: None,
            duration_ms: None,
        }
    }
}

/// Where a record is kept: how many were kept before it.
#[derive(Clone, Copy)]
pub(crate) struct Place(u64);

/// The ring.
pub(crate) struct Decisions {
    ring: Mutex<Ring>,
    decisions_max: usize,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<Entry>,
    /// Entries that made room.
    gone: u64,
    changes: u64,
}

struct Entry {
    /// The ring's change that wrote this entry last.
    change: u64,
    record: Record,
}

impl Decisions {
    pub fn new(decisions_max: usize) -> Decisions {
        Decisions { ring: Mutex::default(), decisions_max }
    }

    /// Keeps a new record.
    pub fn insert(&self, record: Record) -> Place {
        let mut ring = self.ring();
        ring.changes += 1;
        let change = ring.changes;
        let mut gone = None;
        if ring.entries.len() == self.decisions_max {
            gone = ring.entries.pop_front();
            ring.gone += 1;
        }
        ring.entries.push_back(Entry { change, record });
        let place = Place(ring.gone + ring.entries.len() as u64 - 1);
        drop(ring);
        // Not while others wait for the ring.
        drop(gone);
        place
    }

    /// Puts a record in its place again. One that has made room for newer ones stays gone.
    pub fn update(&self, place: Place, record: Record) {
        let mut guard = self.ring();
        let ring = &mut *guard;
        let Some(index) = place.0.checked_sub(ring.gone) else { return };
        let Some(entry) = ring.entries.get_mut(index as usize) else { return };
        ring.changes += 1;
        let old = std::mem::replace(entry, Entry { change: ring.changes, record });
        drop(guard);
        drop(old);
    }

    /// The newest records that are wanted, newest first.
    pub fn newest(&self, limit: usize, wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
        let ring = self.ring();
        let newest_first = ring.entries.iter().rev().map(|entry| &entry.record);
        newest_first.filter(|record| wanted(record)).take(limit).cloned().collect()
    }

    /// The record of a decision.
    pub fn find(&self, id: u64) -> Option<Record> {
        self.ring().entries.iter().rev().map(|entry| &entry.record).find(|record| record.id == id).cloned()
    }

    /// The least id of those that are kept.
    pub fn oldest(&self) -> Option<u64> {
        self.ring().entries.iter().map(|entry| entry.record.id).min()
    }

    /// The records that are new or changed since a change, at most `limit`, newest first; and the change to ask from
    /// next.
    pub fn since(&self, change: u64, limit: usize) -> (Vec<Record>, u64) {
        let ring = self.ring();
        let changed = ring.entries.iter().rev().filter(|entry| entry.change > change);
        (changed.take(limit).map(|entry| entry.record.clone()).collect(), ring.changes)
    }

    /// How many are kept now.
    pub fn len(&self) -> usize {
        self.ring().entries.len()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64, outcome: Outcome) -> Record {
        Record { id, outcome, ..Record::default() }
    }

    fn ids(records: &[Record]) -> Vec<u64> {
        records.iter().map(|record| record.id).collect()
    }

    #[test]
    fn the_oldest_make_room_and_the_newest_come_first() {
        let decisions = Decisions::new(3);
        (1..=5).for_each(|id| {
            decisions.insert(record(id, Outcome::Running));
        });
        assert_eq!(ids(&decisions.newest(10, |_| true)), [5, 4, 3]);
        assert_eq!(ids(&decisions.newest(2, |_| true)), [5, 4]);
        assert_eq!(ids(&decisions.newest(2, |record| record.id < 5)), [4, 3]);
        assert_eq!((decisions.oldest(), Decisions::new(3).oldest()), (Some(3), None));
        assert_eq!(
            (decisions.find(4).map(|record| record.id), decisions.find(1).map(|record| record.id)),
            (Some(4), None)
        );
    }

    #[test]
    fn a_change_replaces_its_record_and_is_told_once() {
        let decisions = Decisions::new(3);
        let places: Vec<Place> = (1..=4).map(|id| decisions.insert(record(id, Outcome::Running))).collect();
        let (all, change) = decisions.since(0, 10);
        assert_eq!(ids(&all), [4, 3, 2]);
        decisions.update(places[1], record(2, Outcome::Finished));
        let (changed, change) = decisions.since(change, 10);
        assert_eq!(ids(&changed), [2]);
        assert_eq!(changed[0].outcome, Outcome::Finished);
        assert_eq!(decisions.since(change, 10).0.len(), 0);
        assert_eq!(decisions.len(), 3);
    }

    #[test]
    fn what_is_gone_stays_gone() {
        let decisions = Decisions::new(2);
        let first = decisions.insert(record(1, Outcome::Running));
        decisions.insert(record(2, Outcome::Running));
        decisions.insert(record(3, Outcome::Running));
        let (_, change) = decisions.since(0, 10);
        decisions.update(first, record(1, Outcome::Finished));
        assert_eq!(ids(&decisions.newest(10, |_| true)), [3, 2]);
        assert_eq!(decisions.since(change, 10).0.len(), 0);
    }
}
