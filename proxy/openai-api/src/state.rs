//! What a replica of ours says of itself at `GET /state`: the numbers a routing policy needs.

use serde::{Deserialize, Serialize};

/// The answer of `GET /state`. Unknown fields are ignored, absent ones are zero, so that either side may be newer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaState {
    /// The served model's name.
    pub model: String,
    /// `mixed`, `prefill` or `decode`.
    pub role: String,
    /// It finishes what it has and takes nothing new.
    pub draining: bool,
    /// Requests in the running batch.
    pub running: u32,
    /// Requests not yet admitted to the batch.
    pub waiting: u32,
    /// Most requests that may wait before it answers 503.
    pub waiting_max: u32,
    /// KV blocks held by requests (cached blocks that nobody holds are free).
    pub kv_blocks_used: u32,
    /// KV blocks in all.
    pub kv_blocks_total: u32,
    /// Tokens one KV block holds.
    pub kv_block_tokens: u32,
    /// Prompt tokens since start.
    pub prompt_tokens_total: u64,
    /// Prompt tokens answered from the prefix cache since start.
    pub cached_tokens_total: u64,
    /// Output tokens since start.
    pub output_tokens_total: u64,
    /// Share of recent prompt tokens answered from the prefix cache, in thousandths.
    pub prefix_hit_permille: u32,
    /// Moving average of time to first token, in microseconds.
    pub ttft_us: u32,
    /// Moving average of time per output token, in microseconds.
    pub tpot_us: u32,
    /// Longest prompt plus output, in tokens.
    pub context_tokens_max: u32,
    /// Since start, in milliseconds.
    pub uptime_ms: u64,
}
