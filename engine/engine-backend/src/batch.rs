//! One step's work as a model sees it: tokens of several sequences in a row, each with its place and its KV blocks.

use std::ops::Range;

/// Whether the logits after a sequence's last token are to be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitsWanted {
    /// A prompt's chunk that is not the last.
    No,
    /// A token will be sampled.
    Yes,
}

/// One sequence's share of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardSequence {
    /// Where its tokens are in [`ForwardBatch::tokens`].
    pub tokens: Range<usize>,
    /// The position of the first of them in the sequence; everything before it is already in the KV cache.
    pub position: u32,
    /// Where its block table is in [`ForwardBatch::blocks`].
    pub blocks: Range<usize>,
    /// Whether logits are computed for its last token.
    pub logits: LogitsWanted,
}

/// Everything a forward pass needs to know, as plain numbers.
///
/// ```
/// use engine_backend::{ForwardBatch, LogitsWanted};
/// let mut batch = ForwardBatch::default();
/// batch.push(&[5, 6, 7], 0, [3], LogitsWanted::Yes);   // a prompt of three tokens in block 3
/// batch.push(&[9], 16, [0, 8], LogitsWanted::Yes);     // a decode step, 16 tokens in block 0 before it
/// assert_eq!((batch.tokens().len(), batch.logits_rows()), (4, 2));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardBatch {
    tokens: Vec<u32>,
    blocks: Vec<u32>,
    sequences: Vec<ForwardSequence>,
}

impl ForwardBatch {
    /// Adds a sequence: its next tokens, the position of the first, and the table of all its KV blocks.
    pub fn push(&mut self, tokens: &[u32], position: u32, blocks: impl IntoIterator<Item = u32>, logits: LogitsWanted) {
        let (tokens_start, blocks_start) = (self.tokens.len(), self.blocks.len());
        self.tokens.extend_from_slice(tokens);
        self.blocks.extend(blocks);
        self.sequences.push(ForwardSequence {
            tokens: tokens_start..self.tokens.len(),
            position,
            blocks: blocks_start..self.blocks.len(),
            logits,
        });
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.blocks.clear();
        self.sequences.clear();
    }

    /// Tokens of all sequences, one after another.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Block tables of all sequences, one after another.
    pub fn blocks(&self) -> &[u32] {
        &self.blocks
    }

    /// In the order they were pushed.
    pub fn sequences(&self) -> &[ForwardSequence] {
        &self.sequences
    }

    /// For each token, its position in its sequence.
    pub fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        self.sequences.iter().flat_map(|sequence| (sequence.position..).take(sequence.tokens.len()))
    }

    /// The rows of [`tokens`](Self::tokens) whose logits are wanted, in order.
    pub fn rows_wanted(&self) -> impl Iterator<Item = usize> + '_ {
        self.sequences
            .iter()
            .filter(|sequence| sequence.logits == LogitsWanted::Yes)
            .map(|sequence| sequence.tokens.end - 1)
    }

    /// How many rows of logits a forward pass returns.
    pub fn logits_rows(&self) -> usize {
        self.rows_wanted().count()
    }
}
