//! Who is of the fleet: replicas come and go at run time, and no id is given twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use dispatch::BreakerRules;
use policy_api::ReplicaId;
use thiserror::Error;

use crate::config;
use crate::fleet::{Replica, Source};
use crate::upstream::Links;

/// All replicas in the order of their ids, those that are about to go included.
pub(crate) struct Roster {
    members: ArcSwap<Vec<Arc<Replica>>>,
    /// The next id; who holds it changes the members.
    turn: Mutex<u32>,
    replicas_max: usize,
    rules: BreakerRules,
    links: Links,
}

/// What a source's word changed.
#[derive(Default)]
pub(crate) struct Changes {
    pub joined: Vec<Arc<Replica>>,
    pub leaving: Vec<Arc<Replica>>,
    pub refused: Vec<JoinError>,
}

/// Why a replica is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum JoinError {
    /// Two sources name one alike.
    #[error("there is a replica {name:?} already (source: {source_now}); give this one another name")]
    NameTaken { name: String, source_now: String },
    /// The fleet is full.
    #[error("{name:?} has no room: the fleet has limits.replicas_max ({replicas_max}) replicas")]
    Full { name: String, replicas_max: usize },
}

/// What became of one that joins.
pub(crate) enum Joined {
    /// It was not there, or was another.
    New { replica: Arc<Replica>, instead_of: Option<Arc<Replica>> },
    /// It was there.
    Known(Arc<Replica>),
}

impl Roster {
    pub fn new(replicas_max: usize, rules: BreakerRules, links: Links) -> Roster {
        Roster { members: ArcSwap::default(), turn: Mutex::default(), replicas_max, rules, links }
    }

    pub fn members(&self) -> Arc<Vec<Arc<Replica>>> {
        self.members.load_full()
    }

    pub fn replica(&self, id: ReplicaId) -> Option<Arc<Replica>> {
        let members = self.members.load();
        let at = members.binary_search_by_key(&id, |replica| replica.id).ok()?;
        Some(members[at].clone())
    }

    /// The one of this name that is not about to go.
    pub fn named(&self, name: &str) -> Option<Arc<Replica>> {
        self.members.load().iter().find(|replica| replica.name == name && !replica.stay.leaves()).cloned()
    }

    /// Takes a source's whole word: who it names is of the fleet, who it names no more is to go.
    pub fn sync(&self, source: &Source, found: &[config::Replica], now_ms: u64) -> Changes {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = (*self.members.load_full()).clone();
        let mut changes = Changes::default();
        let wanted: HashMap<&str, &config::Replica> = found.iter().map(|file| (file.name.as_str(), file)).collect();
        for member in members.iter().filter(|member| member.stay.source == *source) {
            let is_wanted = wanted.get(member.name.as_str()).is_some_and(|file| member.is_as(file));
            if !is_wanted && member.stay.leave(now_ms) {
                changes.leaving.push(member.clone());
            }
        }
        for file in found {
            match self.join_one(&mut members, &mut turn, source, file, now_ms) {
                Ok(Joined::New { replica, instead_of }) => {
                    changes.joined.push(replica);
                    changes.leaving.extend(instead_of);
                }
                Ok(Joined::Known(_)) => {}
                Err(refused) => changes.refused.push(refused),
            }
        }
        self.members.store(Arc::new(members));
        changes
    }

    /// Takes one in beside a source's others.
    pub fn join(&self, source: &Source, file: &config::Replica, now_ms: u64) -> Result<Joined, JoinError> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = (*self.members.load_full()).clone();
        let joined = self.join_one(&mut members, &mut turn, source, file, now_ms)?;
        self.members.store(Arc::new(members));
        Ok(joined)
    }

    fn join_one(
        &self,
        members: &mut Vec<Arc<Replica>>,
        next_id: &mut u32,
        source: &Source,
        file: &config::Replica,
        now_ms: u64,
    ) -> Result<Joined, JoinError> {
        let alike: Vec<&Arc<Replica>> = members.iter().filter(|member| member.name == file.name).collect();
        let staying = alike.iter().copied().find(|member| !member.stay.leaves()).cloned();
        if let Some(other) = staying.as_ref().filter(|staying| staying.stay.source != *source) {
            return Err(JoinError::NameTaken { name: file.name.clone(), source_now: other.stay.source.to_string() });
        }
        // One that is wanted again before it has gone is the same one.
        let same = alike.iter().copied().find(|member| member.stay.source == *source && member.is_as(file)).cloned();
        if let Some(same) = same.filter(|same| staying.as_ref().is_none_or(|staying| Arc::ptr_eq(staying, same))) {
            same.set_weight(file.weight);
            let came_back = same.stay.leaves();
            same.stay.come_back();
            return Ok(if came_back { Joined::New { replica: same, instead_of: None } } else { Joined::Known(same) });
        }
        if members.len() >= self.replicas_max {
            return Err(JoinError::Full { name: file.name.clone(), replicas_max: self.replicas_max });
        }
        let instead_of = staying.filter(|staying| staying.stay.leave(now_ms));
        let replica = Arc::new(Replica::new(ReplicaId(*next_id), file, source.clone(), self.rules, &self.links));
        *next_id += 1;
        members.push(replica.clone());
        Ok(Joined::New { replica, instead_of })
    }

    /// Strikes off one that has gone. Says whether it has: it may be wanted again by now.
    pub fn forget(&self, id: ReplicaId) -> bool {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = (*self.members.load_full()).clone();
        let before = members.len();
        members.retain(|member| member.id != id || !member.stay.leaves());
        let is_gone = members.len() < before;
        self.members.store(Arc::new(members));
        is_gone
    }
}

#[cfg(test)]
mod tests;
