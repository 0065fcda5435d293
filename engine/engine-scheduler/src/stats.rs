//! The scheduler in numbers.

/// A snapshot; totals count since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sequences in the running batch.
    pub running: u32,
    /// Most there can be.
    pub running_max: u32,
    /// Sequences that wait, preempted ones included.
    pub waiting: u32,
    /// Most there can be before `enqueue` refuses.
    pub waiting_max: u32,
    /// KV blocks that sequences hold.
    pub blocks_used: u32,
    /// KV blocks in all.
    pub blocks_total: u32,
    /// KV blocks that the prefix cache can hand out.
    pub blocks_cached: u32,
    /// Tokens one KV block holds.
    pub block_tokens: u32,
    /// Cached blocks overwritten.
    pub evictions_total: u64,
    /// Prompt tokens of sequences that began to run.
    pub prompt_tokens_total: u64,
    /// Of those, tokens that came from the prefix cache.
    pub cached_tokens_total: u64,
    /// Tokens sampled.
    pub output_tokens_total: u64,
    /// Sequences that gave up their blocks to older ones.
    pub preemptions_total: u64,
    /// Steps committed.
    pub steps_total: u64,
}
