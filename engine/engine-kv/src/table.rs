//! Which blocks hold one sequence's keys and values, in order of position.

use crate::chain::ChainHash;

/// A block's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub(crate) u32);

impl BlockId {
    /// The number, for a device's block table.
    pub fn index(self) -> u32 {
        self.0
    }
}

/// The blocks one sequence holds.
///
/// It can be neither copied nor forged, and [`BlockPool::release`](crate::BlockPool::release) consumes it: a block
/// cannot be freed twice. Dropping a table instead of releasing it leaks its blocks.
#[derive(Debug, Default)]
#[must_use = "release it to the pool, or its blocks leak"]
pub struct BlockTable {
    pub(crate) blocks: Vec<BlockId>,
    /// How many of the first blocks are full and were offered to the prefix cache.
    pub(crate) published: usize,
    /// The hash of everything in those.
    pub(crate) chain: ChainHash,
}

impl BlockTable {
    /// In order of position.
    pub fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }
}
