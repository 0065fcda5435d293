//! One sequence on its way: what it is, and how much of it is computed.

use engine_kv::BlockTable;

/// Names a sequence; chosen by the caller, unique among those alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceRequest {
    /// Unique among the sequences alive.
    pub id: SequenceId,
    /// At least one token.
    pub prompt: Vec<u32>,
    /// Most tokens to sample; at least one.
    pub output_tokens_max: u32,
}

/// A sequence that waits or runs.
///
/// There are no phases. Whatever is not computed yet is left to do: a prompt's chunk, or one sampled token.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) id: SequenceId,
    /// The prompt, then what was sampled.
    pub(crate) tokens: Vec<u32>,
    pub(crate) prompt_tokens: u32,
    pub(crate) output_tokens_max: u32,
    /// Tokens whose keys and values are stored.
    pub(crate) computed: u32,
    /// Tokens the current plan computes.
    pub(crate) planned: u32,
    pub(crate) table: BlockTable,
    /// Prompt tokens from the prefix cache; unknown until the sequence first runs.
    pub(crate) cached_tokens: Option<u32>,
}

impl Sequence {
    pub(crate) fn of(request: SequenceRequest) -> Sequence {
        let SequenceRequest { id, prompt, output_tokens_max } = request;
        Sequence {
            id,
            prompt_tokens: u32::try_from(prompt.len()).expect("enqueue bounds a prompt"),
            tokens: prompt,
            output_tokens_max,
            computed: 0,
            planned: 0,
            table: BlockTable::default(),
            cached_tokens: None,
        }
    }

    pub(crate) fn total(&self) -> u32 {
        u32::try_from(self.tokens.len()).expect("enqueue bounds prompt and output")
    }

    /// Tokens that are known but not computed.
    pub(crate) fn left(&self) -> u32 {
        self.total() - self.computed
    }

    pub(crate) fn output_tokens(&self) -> u32 {
        self.total() - self.prompt_tokens
    }
}
