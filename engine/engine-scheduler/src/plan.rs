//! One step's work, as the scheduler hands it to the driver.

use engine_kv::BlockId;

use crate::SequenceId;

/// What one forward pass computes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepPlan {
    /// Oldest first; each sequence at most once.
    pub sequences: Vec<PlannedSequence>,
}

impl StepPlan {
    /// Tokens of all sequences together; never above `step_tokens_max`.
    pub fn tokens(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.tokens.len()).sum()
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }
}

/// One sequence's share of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedSequence {
    /// Whose tokens these are.
    pub id: SequenceId,
    /// What to compute; at least one token.
    pub tokens: Vec<u32>,
    /// Position of the first of them; everything before it is in the blocks already.
    pub position: u32,
    /// The sequence's blocks, long enough for all of `tokens`.
    pub blocks: Vec<BlockId>,
    /// Whether the last token's logits are wanted: [`commit`](crate::Scheduler::commit) then expects a sampled token.
    pub wants_logits: bool,
    /// Prompt tokens that came from the prefix cache when the sequence was first admitted.
    pub cached_tokens: u32,
}
