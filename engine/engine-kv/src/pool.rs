//! Hands out KV blocks, remembers what full ones hold, and takes the least recently used when it needs room.

use std::collections::HashMap;

use crate::chain::ChainHash;
use crate::free::FreeList;
use crate::table::{BlockId, BlockTable};

/// How big the pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Blocks in all; at least one.
    pub blocks: u32,
    /// Tokens one block holds; at least one.
    pub block_tokens: u32,
    /// Separates this pool's hashes from those of a pool that must not share (another adapter, another process).
    pub salt: u64,
}

impl Default for PoolConfig {
    fn default() -> PoolConfig {
        PoolConfig { blocks: 1024, block_tokens: 16, salt: 0 }
    }
}

/// There are not enough free blocks; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} KV blocks wanted, {free} free")]
pub struct OutOfBlocks {
    /// Blocks that were asked for.
    pub wanted: u32,
    /// Blocks that nobody holds.
    pub free: u32,
}

/// The pool in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Blocks that sequences hold; one shared by many counts once.
    pub blocks_used: u32,
    /// Blocks in all.
    pub blocks_total: u32,
    /// Blocks, held or free, that the prefix cache can hand out.
    pub blocks_cached: u32,
    /// Cached blocks that were overwritten, since start.
    pub evictions_total: u64,
}

/// What the pool knows of one block.
#[derive(Clone, Copy, Debug)]
struct Block {
    holders: u32,
    /// Under which the prefix cache finds it.
    hash: Option<ChainHash>,
}

/// Numbered KV blocks with reference counts and a prefix cache.
///
/// Only full blocks are cached. A block that nobody holds keeps its content, and can be found by it, until it is
/// needed for something else: the cache costs no memory that sequences could use.
#[derive(Debug)]
pub struct BlockPool {
    config: PoolConfig,
    blocks: Vec<Block>,
    free: FreeList,
    cached: HashMap<ChainHash, BlockId>,
    /// What each cached block holds. A hit is compared token by token: a crafted collision must not leak a cache.
    tokens: Vec<u32>,
    evictions_total: u64,
}

impl BlockPool {
    /// A pool in which every block is free.
    ///
    /// # Panics
    /// If there are no blocks, or a block holds no tokens.
    pub fn new(config: PoolConfig) -> BlockPool {
        let PoolConfig { blocks, block_tokens, salt: _ } = config;
        assert!(blocks > 0 && block_tokens > 0, "a pool needs blocks, and blocks need tokens");
        BlockPool {
            config,
            blocks: vec![Block { holders: 0, hash: None }; blocks as usize],
            free: FreeList::full(blocks),
            cached: HashMap::new(),
            tokens: vec![0; blocks as usize * block_tokens as usize],
            evictions_total: 0,
        }
    }

    /// Tokens one block holds.
    pub fn block_tokens(&self) -> u32 {
        self.config.block_tokens
    }

    /// Blocks that `tokens` tokens fill or begin.
    pub fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.config.block_tokens)
    }

    /// Blocks that nobody holds.
    pub fn blocks_free(&self) -> u32 {
        self.free.len()
    }

    /// The pool in numbers.
    pub fn counters(&self) -> Counters {
        Counters {
            blocks_used: self.config.blocks - self.free.len(),
            blocks_total: self.config.blocks,
            blocks_cached: u32::try_from(self.cached.len()).expect("at most one entry per block"),
            evictions_total: self.evictions_total,
        }
    }

    /// The cached blocks that hold the longest prefix of `tokens`. Takes nothing.
    ///
    /// A hit never covers the last token: it must be computed, since its logits choose the next one.
    pub fn match_prefix(&self, tokens: &[u32]) -> Vec<BlockId> {
        self.walk(tokens).map(|(block, _)| block).collect()
    }

    /// Begins a sequence: holds the blocks that [`match_prefix`](Self::match_prefix) finds.
    pub fn begin(&mut self, tokens: &[u32]) -> BlockTable {
        let hits: Vec<(BlockId, ChainHash)> = self.walk(tokens).collect();
        let mut table = self.begin_uncached();
        for (block, chain) in hits {
            self.hold(block);
            table.blocks.push(block);
            table.chain = chain;
        }
        table.published = table.blocks.len();
        table
    }

    /// Begins a sequence without looking into the prefix cache.
    pub fn begin_uncached(&self) -> BlockTable {
        BlockTable { blocks: Vec::new(), published: 0, chain: ChainHash::root(self.config.salt) }
    }

    /// Makes a table long enough for `tokens` tokens. All or nothing.
    pub fn grow(&mut self, table: &mut BlockTable, tokens: u32) -> Result<(), OutOfBlocks> {
        let wanted = (self.blocks_for(tokens) as usize).saturating_sub(table.blocks.len());
        let wanted = u32::try_from(wanted).expect("no more than blocks_for counted in u32");
        let free = self.free.len();
        if wanted > free {
            return Err(OutOfBlocks { wanted, free });
        }
        for _ in 0..wanted {
            let block = self.free.pop_front().expect("counted above");
            self.forget(BlockId(block));
            self.blocks[block as usize].holders = 1;
            table.blocks.push(BlockId(block));
        }
        Ok(())
    }

    /// Offers a sequence's full blocks to the prefix cache. `computed` are its tokens whose keys and values are stored.
    ///
    /// # Panics
    /// If the table is too short for `computed`.
    pub fn publish(&mut self, table: &mut BlockTable, computed: &[u32]) {
        let size = self.config.block_tokens as usize;
        let full = computed.chunks_exact(size).enumerate().skip(table.published);
        for (index, tokens) in full {
            let block = table.blocks[index];
            table.chain = table.chain.then(tokens);
            table.published = index + 1;
            // Two sequences may compute the same prefix side by side. The first stays; the other's copy is unnamed.
            if !self.cached.contains_key(&table.chain) {
                debug_assert!(self.blocks[block.0 as usize].hash.is_none(), "a block fills once");
                self.cached.insert(table.chain, block);
                self.blocks[block.0 as usize].hash = Some(table.chain);
                let start = block.0 as usize * size;
                self.tokens[start..start + size].copy_from_slice(tokens);
            }
        }
    }

    /// Ends a sequence. Blocks that nobody else holds become free but stay in the prefix cache.
    pub fn release(&mut self, table: BlockTable) {
        // The tail goes first: a prefix without its tail is still useful, a tail without its prefix never.
        for block in table.blocks.into_iter().rev() {
            let state = &mut self.blocks[block.0 as usize];
            debug_assert!(state.holders > 0, "a table holds each of its blocks");
            state.holders -= 1;
            match (state.holders, state.hash) {
                (0, Some(_)) => self.free.push_back(block.0),
                (0, None) => self.free.push_front(block.0),
                _ => {}
            }
        }
    }

    /// Cached blocks along `tokens`, each with the hash of the prefix that ends with it.
    fn walk<'a>(&'a self, tokens: &'a [u32]) -> impl Iterator<Item = (BlockId, ChainHash)> + 'a {
        let size = self.config.block_tokens as usize;
        let usable = &tokens[..tokens.len().saturating_sub(1)];
        let mut chain = ChainHash::root(self.config.salt);
        usable.chunks_exact(size).map_while(move |tokens| {
            chain = chain.then(tokens);
            let block = *self.cached.get(&chain)?;
            let start = block.0 as usize * size;
            (self.tokens[start..start + size] == *tokens).then_some((block, chain))
        })
    }

    fn hold(&mut self, block: BlockId) {
        let state = &mut self.blocks[block.0 as usize];
        if state.holders == 0 {
            self.free.remove(block.0);
        }
        state.holders += 1;
    }

    /// Takes a block's content out of the prefix cache, because it will be overwritten.
    fn forget(&mut self, block: BlockId) {
        if let Some(hash) = self.blocks[block.0 as usize].hash.take() {
            self.cached.remove(&hash);
            self.evictions_total += 1;
        }
    }
}

#[cfg(test)]
impl BlockPool {
    /// Checks every invariant against the tables that are alive.
    #[track_caller]
    pub(crate) fn check(&self, tables: &[BlockTable]) {
        let mut holders = vec![0; self.blocks.len()];
        for block in tables.iter().flat_map(BlockTable::blocks) {
            holders[block.0 as usize] += 1;
        }
        let counted: Vec<u32> = self.blocks.iter().map(|block| block.holders).collect();
        assert_eq!(counted, holders, "holders are exactly the tables that name a block");
        let mut free: Vec<u32> = self.free.iter().collect();
        free.sort_unstable();
        let unheld: Vec<u32> = (0..self.config.blocks).filter(|&block| holders[block as usize] == 0).collect();
        assert_eq!(free, unheld, "free is exactly what nobody holds");
        assert_eq!(self.free.len() as usize, free.len());
        for (hash, block) in &self.cached {
            assert_eq!(self.blocks[block.0 as usize].hash, Some(*hash), "the cache points both ways");
        }
        let named = self.blocks.iter().filter(|block| block.hash.is_some()).count();
        assert_eq!(named, self.cached.len());
        let Counters { blocks_used, blocks_total, .. } = self.counters();
        assert_eq!(blocks_used + self.blocks_free(), blocks_total);
    }
}
