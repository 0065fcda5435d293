//! What the measured calls are about: requests and fleets, generated; another source need only make the same.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use policy_api::{FleetView, Health, RegionId, RegionRow, ReplicaId, ReplicaRole, ReplicaRow, RequestFacts};

/// Different fleets, where each call sees another.
const FLEETS: u32 = 64;
/// Different prompts.
const PROMPTS: u32 = 256;
/// Bytes that make a token, as the proxy estimates them.
const BYTES_PER_TOKEN: u32 = 4;
/// The prompts share their first half in groups of so many.
const GROUP: u32 = 8;

/// Requests and fleets, taken in turn.
pub(super) struct Cases {
    fleets: Vec<Arc<FleetView>>,
    prompts: Vec<Bytes>,
}

/// What to generate.
pub(super) struct Shape {
    pub replicas: u32,
    pub changed: bool,
    pub prompt_tokens: u32,
}

impl Cases {
    /// The same shape gives the same cases.
    pub(super) fn generated(shape: Shape) -> Cases {
        let Shape { replicas, changed, prompt_tokens } = shape;
        let fleets = if changed { FLEETS } else { 1 };
        Cases {
            fleets: (0..fleets).map(|number| Arc::new(fleet(number, replicas))).collect(),
            prompts: (0..PROMPTS).map(|number| prompt(number, prompt_tokens)).collect(),
        }
    }

    /// The request and the fleet of one call. The facts are new each time, as a proxy's are: what they keep once it was
    /// asked for must be paid for by the call that asks.
    pub(super) fn case(&self, number: u32) -> (Arc<RequestFacts>, &Arc<FleetView>) {
        let prompt = self.prompts[number as usize % self.prompts.len()].clone();
        let facts = RequestFacts {
            id: u64::from(number) + 1,
            endpoint: "/v1/chat/completions".to_owned(),
            model: "bench".to_owned(),
            tenant: format!("tenant-{}", number % 16),
            session: Some(format!("session-{}", number % 64)),
            prompt_tokens_estimate: prompt.len() as u32 / BYTES_PER_TOKEN,
            output_tokens_max: 128,
            stream: true,
            prompt: prompt.into(),
            block_hashes: OnceLock::new(),
            ..RequestFacts::default()
        };
        (Arc::new(facts), &self.fleets[number as usize % self.fleets.len()])
    }
}

fn fleet(number: u32, replicas: u32) -> FleetView {
    let row = |id: u32| ReplicaRow {
        id: ReplicaId(id),
        region: RegionId(0),
        running: mixed(number, id) % 24,
        waiting: mixed(number, id) / 24 % 3,
        kv_blocks_used: mixed(number, id) % 2000,
        kv_blocks_total: 2048,
        prefix_hit_permille: mixed(number, id) % 700,
        // One in sixteen takes no work, as long as there are others.
        health: if id % 16 == 15 { Health::Unhealthy } else { Health::Healthy },
        draining: false,
        role: ReplicaRole::Mixed,
        age_ms: 0,
        ttft_us: 20_000 + mixed(number, id) % 40_000,
        tpot_us: 10_000 + mixed(number, id) % 10_000,
        weight: 100,
        prefill_tokens: mixed(number, id) % 4000,
    };
    let rows: Vec<ReplicaRow> = (0..replicas).map(row).collect();
    let region = |id, local| RegionRow {
        id: RegionId(id),
        local,
        available: replicas,
        queue: 0,
        rtt_us: if local { 0 } else { 80_000 },
        age_ms: 0,
    };
    FleetView::of(u64::from(number) + 1, &rows, &[region(0, true), region(1, false)])
}

fn prompt(number: u32, tokens: u32) -> Bytes {
    let byte = |at: u32| {
        let author = if at < tokens * BYTES_PER_TOKEN / 2 { number / GROUP } else { number + PROMPTS };
        b'a' + (mixed(author, at) % 26) as u8
    };
    (0..tokens * BYTES_PER_TOKEN).map(byte).collect()
}

/// Numbers that look like chance and are always the same.
fn mixed(one: u32, other: u32) -> u32 {
    let mixed = (one.wrapping_mul(0x9e37_79b1) ^ other).wrapping_mul(0x85eb_ca6b);
    (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_fleet_is_one_and_a_changed_one_another_each_call() {
        let shape = |changed| Shape { replicas: 4, changed, prompt_tokens: 128 };
        let (same, other) = (Cases::generated(shape(false)), Cases::generated(shape(true)));
        assert!(Arc::ptr_eq(same.case(1).1, same.case(2).1));
        assert!(!Arc::ptr_eq(other.case(1).1, other.case(2).1));
    }

    #[test]
    fn prompts_share_what_their_group_shares() {
        let cases = Cases::generated(Shape { replicas: 1, changed: false, prompt_tokens: 256 });
        let hashes = |number| cases.case(number).0.block_hashes().to_vec();
        let (one, sibling, stranger) = (hashes(0), hashes(1), hashes(GROUP));
        assert_eq!(one.len(), 4);
        assert_eq!(one[..2], sibling[..2]);
        assert_ne!(one[2..], sibling[2..]);
        assert_ne!(one[0], stranger[0]);
    }
}
