//! Policies in Rust: one that takes turns, one that follows prefixes, one that does everything a policy may do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use policy_api::{
    Admission, Answer, Call, Denial, Description, Event, FleetView, Hook, Mode, Placement, Policy, PolicyFault,
    RegionId, ReplicaId,
};
use policy_simulator::{Contender, Source};

pub fn contender(name: &str, make: fn() -> Arc<dyn Policy>) -> Contender {
    Contender { name: name.to_owned(), policies: vec![Source::Native(make)] }
}

fn describe(name: &str, hooks: Vec<Hook>) -> Description {
    Description {
        name: name.to_owned(),
        version: "1".to_owned(),
        hooks,
        mode: Mode::Pooled,
        config_schema: String::new(),
    }
}

fn ready(fleet: &FleetView) -> Vec<usize> {
    (0..fleet.len()).filter(|row| fleet.takes_work(*row)).collect()
}

/// The next replica that takes work.
pub struct RoundRobin {
    description: Description,
    turn: AtomicUsize,
}

pub fn round_robin() -> Arc<dyn Policy> {
    Arc::new(RoundRobin { description: describe("round-robin", vec![Hook::Place]), turn: AtomicUsize::new(0) })
}

impl Policy for RoundRobin {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn admit(&self, _: &Call<'_>) -> Result<Answer<Admission>, PolicyFault> {
        Err(PolicyFault::NoHook { hook: Hook::Admit })
    }

    fn place(&self, call: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        let ready = ready(call.fleet);
        if ready.is_empty() {
            return Ok(Answer::bare(Placement::Pass));
        }
        let row = ready[self.turn.fetch_add(1, Ordering::Relaxed) % ready.len()];
        Ok(Answer::bare(Placement::Replica(ReplicaId(call.fleet.id[row]))))
    }

    fn observe(&self, _: u64, _: &Arc<FleetView>, _: &[Event]) -> Result<(), PolicyFault> {
        Err(PolicyFault::NoHook { hook: Hook::Observe })
    }
}

/// The replica that has seen the longest prefix, unless it has twice the mean to do; else the least loaded.
pub struct PrefixAffine {
    description: Description,
    seen: Mutex<HashMap<u64, u32>>,
}

pub fn prefix_affine() -> Arc<dyn Policy> {
    Arc::new(PrefixAffine { description: describe("prefix-affine", vec![Hook::Place]), seen: Mutex::default() })
}

impl Policy for PrefixAffine {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn admit(&self, _: &Call<'_>) -> Result<Answer<Admission>, PolicyFault> {
        Err(PolicyFault::NoHook { hook: Hook::Admit })
    }

    fn place(&self, call: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        let (fleet, ready) = (call.fleet, ready(call.fleet));
        let load = |row: &usize| fleet.running[*row] + fleet.waiting[*row];
        let Some(least) = ready.iter().copied().min_by_key(load) else { return Ok(Answer::bare(Placement::Pass)) };
        let hashes = call.facts.block_hashes();
        let mut seen = self.seen.lock().unwrap();
        let bound = 2 * ready.iter().map(load).sum::<u32>() / ready.len() as u32 + 2;
        let held = hashes.iter().rev().find_map(|hash| seen.get(hash).copied());
        let row = held.and_then(|id| ready.iter().copied().find(|row| fleet.id[*row] == id && load(row) <= bound));
        let row = row.unwrap_or(least);
        for hash in hashes {
            seen.insert(*hash, fleet.id[row]);
        }
        Ok(Answer::bare(Placement::Replica(ReplicaId(fleet.id[row]))))
    }

    fn observe(&self, _: u64, _: &Arc<FleetView>, _: &[Event]) -> Result<(), PolicyFault> {
        Err(PolicyFault::NoHook { hook: Hook::Observe })
    }
}

/// Answers by the request and the fleet's version, as if by mood: everything that can be answered, and faults.
pub struct Moody {
    description: Description,
}

pub fn moody() -> Arc<dyn Policy> {
    Arc::new(Moody { description: describe("moody", vec![Hook::Admit, Hook::Place, Hook::Observe]) })
}

fn mood(call: &Call<'_>, salt: u64) -> u64 {
    let mixed = (call.facts.id ^ (call.fleet.version << 20) ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

impl Policy for Moody {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn admit(&self, call: &Call<'_>) -> Result<Answer<Admission>, PolicyFault> {
        let denial = |status| Denial { status, retry_after_ms: None, message: "no".to_owned() };
        match mood(call, 1) % 16 {
            0 => Err(PolicyFault::NoInstance),
            1 => Ok(Answer::bare(Admission::Deny(denial(429)))),
            2 => Ok(Answer::bare(Admission::Deny(denial(200)))),
            3..8 => Ok(Answer::bare(Admission::Allow)),
            _ => Ok(Answer::bare(Admission::Pass)),
        }
    }

    fn place(&self, call: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        let mood = mood(call, 2);
        let placement = match mood % 16 {
            0 => return Err(PolicyFault::Trapped { message: "unreachable".to_owned() }),
            1 => Placement::Reject(Denial { status: 503, retry_after_ms: None, message: "no".to_owned() }),
            2..8 => Placement::Hold,
            8 => Placement::Region(RegionId((mood >> 8) as u32 % 3)),
            9 => Placement::Pass,
            _ => Placement::Replica(ReplicaId((mood >> 8) as u32 % 5)),
        };
        Ok(Answer::bare(placement))
    }

    fn observe(&self, _: u64, _: &Arc<FleetView>, events: &[Event]) -> Result<(), PolicyFault> {
        if events.len() % 7 == 6 { Err(PolicyFault::NoInstance) } else { Ok(()) }
    }
}

/// Holds everything, always.
pub struct Holding {
    description: Description,
}

pub fn holding() -> Arc<dyn Policy> {
    Arc::new(Holding { description: describe("holding", vec![Hook::Place]) })
}

impl Policy for Holding {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn admit(&self, _: &Call<'_>) -> Result<Answer<Admission>, PolicyFault> {
        Err(PolicyFault::NoHook { hook: Hook::Admit })
    }

    fn place(&self, _: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        Ok(Answer::bare(Placement::Hold))
    }

    fn observe(&self, _: u64, _: &Arc<FleetView>, _: &[Event]) -> Result<(), PolicyFault> {
        Err(PolicyFault::NoHook { hook: Hook::Observe })
    }
}

/// Holds while the least loaded replica has two requests; whoever ends makes room for one who is held.
pub struct TwoEach {
    description: Description,
}

pub fn two_each() -> Arc<dyn Policy> {
    Arc::new(TwoEach { description: describe("two-each", vec![Hook::Place]) })
}

impl Policy for TwoEach {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn admit(&self, _: &Call<'_>) -> Result<Answer<Admission>, PolicyFault> {
        Err(PolicyFault::NoHook { hook: Hook::Admit })
    }

    fn place(&self, call: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        let fleet = call.fleet;
        let load = |row: &usize| fleet.running[*row] + fleet.waiting[*row];
        let least = ready(fleet).into_iter().min_by_key(load).filter(|row| load(row) < 2);
        Ok(Answer::bare(least.map_or(Placement::Hold, |row| Placement::Replica(ReplicaId(fleet.id[row])))))
    }

    fn observe(&self, _: u64, _: &Arc<FleetView>, _: &[Event]) -> Result<(), PolicyFault> {
        Err(PolicyFault::NoHook { hook: Hook::Observe })
    }
}
