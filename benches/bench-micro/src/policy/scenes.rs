//! Made-up fleets and requests, the same for every run.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use policy_api::{FleetView, Health, RegionId, ReplicaId, ReplicaRole, ReplicaRow, RequestFacts};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Fleets that take turns where each call sees another.
const FLEETS: u64 = 64;
/// Blocks of a prompt of 2,048 tokens, where 16 tokens make a block.
pub const PROMPT_BLOCKS: usize = 128;
/// Leading blocks that the prompts of one family share: a system prompt, tools.
const SHARED_BLOCKS: usize = 64;
/// Families of prompts.
const FAMILIES: u64 = 16;

/// A fleet of healthy replicas with some load each.
pub fn fleet(version: u64, replicas: u32) -> Arc<FleetView> {
    let mut chance = ChaCha8Rng::seed_from_u64(version);
    let rows: Vec<ReplicaRow> = (0..replicas)
        .map(|id| ReplicaRow {
            id: ReplicaId(id),
            region: RegionId(0),
            running: chance.random_range(4..40),
            waiting: chance.random_range(0..8),
            kv_blocks_used: chance.random_range(0..4096),
            kv_blocks_total: 4096,
            prefix_hit_permille: chance.random_range(0..1000),
            health: Health::Healthy,
            draining: false,
            role: ReplicaRole::Mixed,
            age_ms: 20,
            ttft_us: 40_000,
            tpot_us: 12_000,
            weight: 100,
            prefill_tokens: 0,
        })
        .collect();
    Arc::new(FleetView::of(version, &rows, &[]))
}

/// Fleets of the same replicas under different loads.
pub fn changing_fleets(replicas: u32) -> Vec<Arc<FleetView>> {
    (1..=FLEETS).map(|version| fleet(version, replicas)).collect()
}

/// Requests without a prompt.
pub fn plain_requests() -> Vec<Arc<RequestFacts>> {
    (0..256).map(|id| Arc::new(RequestFacts { id, ..RequestFacts::default() })).collect()
}

/// Requests whose block hashes are made: `prompts` of them, each with a beginning that others share and an end of its
/// own.
pub fn hashed_requests(prompts: u64) -> Vec<Arc<RequestFacts>> {
    let text = prompt(0);
    let request = |id: u64| {
        let shared = chain(id % FAMILIES + 1).take(SHARED_BLOCKS);
        let own = chain(FAMILIES + 1 + id).take(PROMPT_BLOCKS - SHARED_BLOCKS);
        let block_hashes = OnceLock::from(shared.chain(own).collect::<Vec<u64>>());
        Arc::new(RequestFacts { id, prompt: text.clone().into(), block_hashes, ..RequestFacts::default() })
    };
    (0..prompts).map(request).collect()
}

/// Prompts whose blocks have still to be hashed.
pub fn prompts(count: u64) -> Vec<Bytes> {
    (0..count).map(prompt).collect()
}

/// A request that nobody has looked at yet.
pub fn fresh_request(id: u64, prompt: &Bytes) -> Arc<RequestFacts> {
    Arc::new(RequestFacts { id, prompt: prompt.clone().into(), ..RequestFacts::default() })
}

fn prompt(id: u64) -> Bytes {
    let bytes = PROMPT_BLOCKS * policy_api::BLOCK_BYTES;
    let mut text = vec![0; bytes];
    let (shared, own) = text.split_at_mut(bytes * SHARED_BLOCKS / PROMPT_BLOCKS);
    ChaCha8Rng::seed_from_u64(id % FAMILIES).fill(shared);
    ChaCha8Rng::seed_from_u64(FAMILIES + id).fill(own);
    text.into()
}

/// Numbers as well mixed as chained hashes are (SplitMix64).
fn chain(seed: u64) -> impl Iterator<Item = u64> {
    let mix = |mut mixed: u64| {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (1..).map(move |step: u64| mix(mix(seed).wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
}
