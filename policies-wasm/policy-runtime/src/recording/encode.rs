//! Turns records into lines: what several calls share is written once, before the first that names it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use policy_api::{FleetView, RequestFacts};
use serde::Serialize;

use super::{
    Call, CallLine, ComponentLine, EndLine, FactsLine, FleetLine, GapLine, Header, Line, PolicyLine, Record, Start,
    StartLine, Who,
};

/// Fleets and requests that are kept to be found again. One that comes later than so many others is written anew.
const RECENT_MAX: usize = 256;

/// Writes one recording's lines.
pub struct Encoder {
    prompts: bool,
    components: HashSet<String>,
    policies: HashMap<Key, u32>,
    fleets: Recent<FleetView>,
    facts: Recent<RequestFacts>,
    calls: u64,
    dropped: u64,
}

/// What makes a policy of a recording another one.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    slot: String,
    digest: String,
    config_json: String,
}

/// Things and their numbers.
struct Recent<T> {
    kept: VecDeque<(Arc<T>, u32)>,
    next: u32,
}

impl Encoder {
    /// An encoder, and the header's line.
    pub fn begin(header: Header) -> (Encoder, Vec<u8>) {
        let encoder = Encoder {
            prompts: header.prompts,
            components: HashSet::new(),
            policies: HashMap::new(),
            fleets: Recent::new(),
            facts: Recent::new(),
            calls: 0,
            dropped: 0,
        };
        let mut out = Vec::new();
        put(&mut out, &Line::Recording(header));
        (encoder, out)
    }

    /// The lines of one record, after those of what it names for the first time.
    pub fn encode(&mut self, record: Record) -> Vec<u8> {
        let mut out = Vec::new();
        match record {
            Record::Start(start) => self.start(start, &mut out),
            Record::Call(call) => self.call(*call, &mut out),
        }
        out
    }

    /// Says that records are missing here.
    pub fn gap(&mut self, dropped: u64) -> Vec<u8> {
        self.dropped += dropped;
        let mut out = Vec::new();
        put(&mut out, &Line::Gap(GapLine { dropped }));
        out
    }

    /// The last line.
    pub fn end(&self, why: super::EndReason) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, &Line::End(EndLine { calls: self.calls, dropped: self.dropped, why }));
        out
    }

    /// Calls written so far.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Says that the lines made since there were so many calls were not written after all.
    pub fn take_back(&mut self, calls: u64) {
        self.calls = calls;
    }

    fn start(&mut self, start: Start, out: &mut Vec<u8>) {
        let Start { who, instance, now_ms, configure, inherited } = start;
        let policy = self.policy(&who, out);
        put(out, &Line::Start(StartLine { policy, instance, now_ms, configure, inherited }));
    }

    fn call(&mut self, call: Call, out: &mut Vec<u8>) {
        let Call { who, instance, turn, hook, now_ms, chance, facts, fleet, events, track, answer, took } = call;
        let policy = self.policy(&who, out);
        let request = facts.as_ref().map(|facts| facts.id);
        let prompts = self.prompts;
        let facts = facts.map(|facts| {
            let (number, is_new) = self.facts.number(&facts, |_, _| false);
            if is_new {
                put(out, &Line::Facts(FactsLine::of(number, &facts, prompts)));
            }
            number
        });
        let fleet = fleet.map(|fleet| {
            let (number, is_new) = self.fleets.number(&fleet, |one, other| one == other);
            if is_new {
                put(out, &Line::Fleet(FleetLine { fleet: number, view: FleetView::clone(&fleet) }));
            }
            number
        });
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let line = CallLine {
            policy,
            instance,
            turn,
            hook,
            request,
            now_ms,
            chance,
            facts,
            fleet,
            events: events.to_vec(),
            answer,
            ns,
            track,
        };
        put(out, &Line::Call(Box::new(line)));
        self.calls += 1;
    }

    fn policy(&mut self, who: &Who, out: &mut Vec<u8>) -> u32 {
        let Who { slot, digest, config_json, .. } = who;
        let key = Key { slot: slot.clone(), digest: digest.clone(), config_json: config_json.clone() };
        if let Some(number) = self.policies.get(&key) {
            return *number;
        }
        if self.components.insert(digest.clone()) {
            put(out, &Line::Component(ComponentLine { digest: digest.clone(), bytes: who.component.to_vec() }));
        }
        let number = self.policies.len() as u32;
        put(out, &Line::Policy(PolicyLine::of(number, who)));
        self.policies.insert(key, number);
        number
    }
}

impl<T> Recent<T> {
    fn new() -> Recent<T> {
        Recent { kept: VecDeque::new(), next: 0 }
    }

    /// Its number, and whether that is new. `same` may find it in another allocation.
    fn number(&mut self, wanted: &Arc<T>, same: fn(&T, &T) -> bool) -> (u32, bool) {
        let newest_first = self.kept.iter().rev();
        let mut known = newest_first.filter(|(kept, _)| Arc::ptr_eq(kept, wanted) || same(kept, wanted));
        if let Some((_, number)) = known.next() {
            return (*number, false);
        }
        if self.kept.len() == RECENT_MAX {
            self.kept.pop_front();
        }
        let number = self.next;
        self.next += 1;
        self.kept.push_back((Arc::clone(wanted), number));
        (number, true)
    }
}

pub(super) fn put(out: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *out, line).expect("a line has string keys, and a Vec takes every write");
    out.push(b'\n');
}
