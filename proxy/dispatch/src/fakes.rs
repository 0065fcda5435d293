//! Policies and fleets written as one line, for the tables.

use std::sync::Arc;

use policy_api::{
    Admission, Answer, Call, Denial, Description, Event, FleetView, Health, Hook, Mode, Placement, Policy, PolicyFault,
    RegionId, RegionRow, ReplicaId, ReplicaRole, ReplicaRow, Words,
};

use crate::{Author, Chain, Fallback, Link};

/// A policy that always says the same.
pub struct Says {
    description: Description,
    word: String,
}

/// Links from words such as `pass, replica 1, trap, deny 429`.
pub fn links(words: &str) -> Vec<Link> {
    let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.enumerate().map(|(index, word)| link(&format!("slot{index}"), word)).collect()
}

/// A chain of what [`links`] makes.
pub fn chain(words: &str) -> Chain {
    Chain::new(links(words), Arc::new(Fallback::default()))
}

fn link(slot: &str, word: &str) -> Link {
    let description = Description {
        name: word.to_owned(),
        version: "1".to_owned(),
        hooks: vec![Hook::Admit, Hook::Place],
        mode: Mode::Pooled,
        config_schema: String::new(),
    };
    let author = Author {
        slot: slot.to_owned(),
        number: 1,
        name: word.to_owned(),
        version: "1".to_owned(),
        digest: String::new(),
    };
    Link::new(author, Arc::new(Says { description, word: word.to_owned() }))
}

/// Columns from words such as `up 3, down 0, draining 0, up 1 w200`: health and running requests of replicas 0, 1, …
pub fn fleet(words: &str) -> FleetView {
    let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
    let rows: Vec<ReplicaRow> = words.enumerate().map(|(id, word)| replica(id as u32, word)).collect();
    let region = |id, local| RegionRow { id: RegionId(id), local, available: 1, queue: 0, rtt_us: 0, age_ms: 0 };
    FleetView::of(1, &rows, &[region(0, true), region(1, false)])
}

fn replica(id: u32, word: &str) -> ReplicaRow {
    let mut parts = word.split(' ');
    let state = parts.next().expect("a word has a first part");
    let running = parts.next().map_or(0, |part| part.parse().expect("running is a number"));
    let weight = parts.next().map_or(100, |part| part.trim_start_matches('w').parse().expect("weight is a number"));
    ReplicaRow {
        id: ReplicaId(id),
        region: RegionId(0),
        running,
        waiting: 0,
        kv_blocks_used: 0,
        kv_blocks_total: 0,
        prefix_hit_permille: 0,
        health: if state == "down" { Health::Unhealthy } else { Health::Healthy },
        draining: state == "draining",
        role: ReplicaRole::Mixed,
        age_ms: 0,
        ttft_us: 0,
        tpot_us: 0,
        weight,
        prefill_tokens: 0,
    }
}

impl Says {
    fn number(&self) -> u32 {
        self.word.split(' ').nth(1).and_then(|part| part.parse().ok()).expect("the word has a number")
    }

    fn denial(&self) -> Denial {
        Denial { status: self.number() as u16, retry_after_ms: None, message: self.word.clone() }
    }
}

impl Policy for Says {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn admit(&self, _: &Call<'_>) -> Result<Answer<Admission>, PolicyFault> {
        let verdict = match self.word.split(' ').next() {
            Some("allow") => Admission::Allow,
            Some("deny") => Admission::Deny(self.denial()),
            Some("trap") => {
                return Err(PolicyFault::Trapped { message: "unreachable".to_owned() });
            }
            _ => Admission::Pass,
        };
        Ok(Answer { verdict, words: Words { reason: Some(self.word.clone()), ..Words::default() } })
    }

    fn place(&self, _: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        let verdict = match self.word.split(' ').next() {
            Some("replica") => Placement::Replica(ReplicaId(self.number())),
            Some("region") => Placement::Region(RegionId(self.number())),
            Some("hold") => Placement::Hold,
            Some("reject") => Placement::Reject(self.denial()),
            Some("trap") => {
                return Err(PolicyFault::Trapped { message: "unreachable".to_owned() });
            }
            _ => Placement::Pass,
        };
        Ok(Answer { verdict, words: Words { reason: Some(self.word.clone()), ..Words::default() } })
    }

    fn observe(&self, _: u64, _: &Arc<FleetView>, _: &[Event]) -> Result<(), PolicyFault> {
        Ok(())
    }
}
