//! The same policies in native Rust, over the same fleet and the same prefix index: what a component is measured against.

use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use policy_api::{
    Admission, Answer, Call, Description, Event, FleetView, Hook, Mode, Placement, Policy, PolicyFault, ReplicaId,
    Words,
};
use policy_runtime::{Holder, PrefixIndex};

/// A policy that places requests.
struct Native<P> {
    description: Description,
    place: P,
}

/// Chance from the request and the fleet, as a component's is.
struct Chance(u64);

impl Chance {
    fn of(call: &Call<'_>) -> Chance {
        Chance(call.facts.id ^ call.fleet.version.rotate_left(32))
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (((mixed >> 32) * u64::from(bound)) >> 32) as u32
    }
}

/// Each replica in turn.
pub fn round_robin() -> impl Policy {
    let turns = AtomicU64::new(0);
    native("round-robin", move |call| {
        let fleet = &**call.fleet;
        let takers = (0..fleet.len()).filter(|row| fleet.takes_work(*row)).count();
        if takers == 0 {
            return pass();
        }
        let place = turns.fetch_add(1, Relaxed) as usize % takers;
        let row = (0..fleet.len()).filter(|row| fleet.takes_work(*row)).nth(place).unwrap_or_default();
        chosen(fleet.id[row], format!("next in turn: {} of {takers} that take work", place + 1))
    })
}

/// The less loaded of two that chance draws.
pub fn least_load_of_two() -> impl Policy {
    native("least-load", |call| {
        let fleet = &**call.fleet;
        let takers: Vec<usize> = (0..fleet.len()).filter(|row| fleet.takes_work(*row)).collect();
        let mut chance = Chance::of(call);
        match takers.len() as u32 {
            0 => pass(),
            1 | 2 => least_of(fleet, &takers, &mut chance),
            count => {
                let first = chance.below(count);
                let second = (first + 1 + chance.below(count - 1)) % count;
                least_of(fleet, &[takers[first as usize], takers[second as usize]], &mut chance)
            }
        }
    })
}

/// The least loaded of all.
pub fn least_load_of_all() -> impl Policy {
    native("least-load", |call| {
        let fleet = &**call.fleet;
        let takers: Vec<usize> = (0..fleet.len()).filter(|row| fleet.takes_work(*row)).collect();
        if takers.is_empty() { pass() } else { least_of(fleet, &takers, &mut Chance::of(call)) }
    })
}

fn least_of(fleet: &FleetView, rows: &[usize], chance: &mut Chance) -> Answer<Placement> {
    let load = |row: usize| {
        let used = u64::from(fleet.kv_blocks_used[row]) * 1000;
        let permille = used.checked_div(u64::from(fleet.kv_blocks_total[row])).unwrap_or_default().min(1000);
        (fleet.running[row].saturating_add(fleet.waiting[row]), permille)
    };
    let least = rows.iter().map(|row| load(*row)).min().unwrap_or_default();
    let mut equals = rows.iter().filter(|row| load(**row) == least);
    let drawn = match equals.clone().count() {
        1 => 0,
        count => chance.below(count as u32),
    };
    let row = equals.nth(drawn as usize).copied().unwrap_or_default();
    let mut why = format!("lowest load {} of ", least.0);
    for (at, row) in rows.iter().take(4).enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        write!(why, "{comma}{}={}", fleet.id[*row], load(*row).0).expect("a String takes every write");
    }
    if rows.len() > 4 {
        write!(why, " and {} more", rows.len() - 4).expect("a String takes every write");
    }
    chosen(fleet.id[row], why)
}

/// A replica that has seen at least half of the prompt and is not too busy, else the least loaded; it is remembered for
/// the prompt. The shipped prefix-tree's rule `block` with its ordinary bounds.
pub fn prefix_tree(blocks_max: usize) -> impl Policy {
    let index = Mutex::new(PrefixIndex::new(blocks_max));
    let lock = move |work: &mut dyn FnMut(&mut PrefixIndex)| {
        work(&mut index.lock().unwrap_or_else(PoisonError::into_inner));
    };
    native("prefix-tree", move |call| {
        let fleet = &**call.fleet;
        let hashes = call.facts.block_hashes();
        let blocks_all = call.facts.prompt.len() / policy_api::BLOCK_BYTES;
        let mut found = (Vec::new(), Vec::new());
        lock(&mut |index| found = index.matches(hashes, Holder::replica));
        let mut held = vec![0_u32; fleet.len()];
        for (id, blocks) in found.0.iter().zip(&found.1) {
            if let Some(row) = fleet.row_of(ReplicaId(*id)) {
                held[row] = *blocks;
            }
        }
        let load = |row: usize| u64::from(fleet.running[row]) + u64::from(fleet.waiting[row]);
        let takers = || (0..fleet.len()).filter(|row| fleet.takes_work(*row));
        let (total, count) = takers().fold((0, 0_u32), |(total, count), row| (total + load(row), count + 1));
        let Some(least) = takers().min_by_key(|row| load(*row)) else { return pass() };
        let bound = total as f64 / f64::from(count) * 1.5 + 8.0;
        let fits = |row: &usize| held[*row] as usize * 2 >= blocks_all && load(*row) as f64 <= bound;
        let best = takers().filter(fits).max_by_key(|row| (held[*row], std::cmp::Reverse((load(*row), *row))));
        let row = best.unwrap_or(least);
        let id = fleet.id[row];
        lock(&mut |index| index.insert(Holder::Replica(id), hashes));
        let (blocks, load, least) = (held[row], load(row), load(least));
        chosen(id, format!("{blocks} of {blocks_all} blocks matched on {id}, load {load}, least {least}"))
    })
}

fn pass() -> Answer<Placement> {
    Answer::bare(Placement::Pass)
}

fn chosen(id: u32, why: String) -> Answer<Placement> {
    Answer { verdict: Placement::Replica(ReplicaId(id)), words: Words { reason: Some(why), ..Words::default() } }
}

fn native<P: Fn(&Call<'_>) -> Answer<Placement> + Send + Sync>(name: &str, place: P) -> Native<P> {
    let description = Description {
        name: name.to_owned(),
        version: "native".to_owned(),
        hooks: vec![Hook::Place],
        mode: Mode::Pooled,
        config_schema: String::new(),
    };
    Native { description, place }
}

impl<P: Fn(&Call<'_>) -> Answer<Placement> + Send + Sync> Policy for Native<P> {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn admit(&self, _call: &Call<'_>) -> Result<Answer<Admission>, PolicyFault> {
        Err(PolicyFault::NoHook { hook: Hook::Admit })
    }

    fn place(&self, call: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        Ok((self.place)(call))
    }

    fn observe(&self, _now_ms: u64, _fleet: &Arc<FleetView>, _events: &[Event]) -> Result<(), PolicyFault> {
        Err(PolicyFault::NoHook { hook: Hook::Observe })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::scenes;

    #[test]
    fn a_prompt_goes_where_it_went_before() {
        let (policy, fleet) = (prefix_tree(100_000), scenes::fleet(1, 16));
        let requests = scenes::hashed_requests(64);
        let place = |at: usize| {
            let answer = policy.place(&Call { now_ms: 0, facts: &requests[at], fleet: &fleet }).unwrap();
            (answer.verdict, answer.words.reason.unwrap())
        };
        let first = place(0);
        let again = place(0);
        assert_eq!(first.0, again.0);
        assert!(again.1.starts_with("128 of 128 blocks matched"), "{}", again.1);
    }

    #[test]
    fn turns_go_round() {
        let (policy, fleet) = (round_robin(), scenes::fleet(1, 3));
        let requests = scenes::plain_requests();
        let turns: Vec<Placement> = (0..4)
            .map(|_| policy.place(&Call { now_ms: 0, facts: &requests[0], fleet: &fleet }).unwrap().verdict)
            .collect();
        assert_eq!(turns, [0, 1, 2, 0].map(|id| Placement::Replica(ReplicaId(id))));
    }
}
