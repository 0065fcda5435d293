//! Who has seen which prefix: runs of blocks -> holders, forgetting the least recently inserted first.
//!
//! A chained hash names a whole prefix, so two prefixes that share a hash share all before it. Blocks that came together
//! are kept together as a run, found by its first hash; a prefix is a few runs, one after another. What branches off
//! within a run begins a run of its own, found by its own first hash, so a branch does not cut the run that it leaves.
//! A holder has a share of a run: so many of its leading blocks, all last inserted at the same time. Matching 128 blocks
//! looks up two or three runs, and inserting them moves two or three shares to the front, where one entry for each block
//! took 128 of both.

mod keys;
mod leases;
mod runs;

use std::{fmt, mem};

use keys::ByHash;
use leases::{Lease, Leases};
use runs::{Run, Runs, Share};
use serde::{Deserialize, Serialize};

/// Shares of evicted holders that go with each insert, so that they become fewer.
const SWEPT_PER_INSERT: usize = 2;

/// Who holds a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// By [`policy_api::ReplicaId`].
    Replica(u32),
    /// By [`policy_api::RegionId`].
    Region(u32),
}

/// The index of one slot. Hashes that are not chained make it answer nonsense about them, and nothing worse.
#[derive(Debug)]
pub struct PrefixIndex {
    runs: Runs,
    /// Each run by its first hash.
    run_at: ByHash<u32>,
    leases: Leases,
    blocks_max: usize,
    evicted: u64,
    /// Kept for its room: the runs that an insert walks over.
    path: Vec<Step>,
    /// Kept for its room: the holders that a match has found.
    found: Vec<u32>,
}

/// A run on the way of a prefix, and how much of it the prefix shares.
#[derive(Clone, Copy, Debug)]
struct Step {
    run: u32,
    blocks: usize,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Replica(id) => write!(f, "replica {id}"),
            Holder::Region(id) => write!(f, "region {id}"),
        }
    }
}

impl PrefixIndex {
    /// An index that remembers so many blocks, counted once per holder.
    pub fn new(blocks_max: usize) -> PrefixIndex {
        PrefixIndex {
            runs: Runs::default(),
            run_at: ByHash::default(),
            leases: Leases::default(),
            blocks_max,
            evicted: 0,
            path: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Each holder of a kind with the leading blocks it holds, as two columns in the order of their ids. `of` picks the
    /// kind.
    pub fn matches(&mut self, hashes: &[u64], of: fn(Holder) -> Option<u32>) -> (Vec<u32>, Vec<u32>) {
        let mut found = mem::take(&mut self.found);
        let mut depth = 0;
        while let Some(step) = self.step(&hashes[depth..]) {
            let mut goes_on = false;
            for share in self.runs[step.run].shares() {
                let holder = &mut self.leases.holders[share.holder as usize];
                if holder.is_evicted || holder.reach != depth || of(holder.id).is_none() {
                    continue;
                }
                if depth == 0 {
                    found.push(share.holder);
                }
                let blocks = share.blocks.min(step.blocks);
                holder.reach += blocks;
                goes_on |= blocks == step.blocks;
            }
            depth += step.blocks;
            if !goes_on {
                break;
            }
        }
        let columns = self.columns(&mut found, of);
        self.found = found;
        columns
    }

    /// Remembers that `holder` has seen this prefix. Its first block becomes the newest, so that a prefix is forgotten
    /// from its end.
    pub fn insert(&mut self, holder: Holder, hashes: &[u64]) {
        let kept = &hashes[..hashes.len().min(self.blocks_max)];
        if kept.is_empty() {
            return;
        }
        let holder = self.leases.number_of(holder);
        let mut path = mem::take(&mut self.path);
        let known = self.walk(kept, &mut path);
        self.remember_new(holder, &kept[known..], path.last_mut());
        // The deepest first: then the first blocks are newer than those after them.
        for step in path.drain(..).rev() {
            self.renew(holder, step);
        }
        self.path = path;
        self.make_room();
    }

    /// Forgets everything about `holder`. Its shares are found no more at once, and go a few at a time: the eviction of
    /// a holder of many blocks must not keep the slot's other calls waiting.
    pub fn evict(&mut self, holder: Holder) {
        self.leases.evict(holder);
    }

    /// Blocks remembered, counted once per holder.
    pub fn blocks_now(&self) -> usize {
        self.leases.blocks_held()
    }

    /// The bound on [`Self::blocks_now`].
    pub fn blocks_max(&self) -> usize {
        self.blocks_max
    }

    /// Blocks forgotten for want of room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The run that these hashes begin with.
    fn step(&self, hashes: &[u64]) -> Option<Step> {
        let run = *self.run_at.get(hashes.first()?)?;
        Some(Step { run, blocks: self.runs[run].common(hashes) })
    }

    /// Leaves `found` empty and every reach at 0, as the next match wants them.
    fn columns(&mut self, found: &mut Vec<u32>, of: fn(Holder) -> Option<u32>) -> (Vec<u32>, Vec<u32>) {
        let holders = &mut self.leases.holders;
        found.sort_unstable_by_key(|number| holders[*number as usize].id);
        let ids = found.iter().filter_map(|number| of(holders[*number as usize].id)).collect();
        let blocks = found.drain(..).map(|number| mem::take(&mut holders[number as usize].reach) as u32).collect();
        (ids, blocks)
    }

    /// The runs on the way of a prefix; answers how many of its blocks they know.
    fn walk(&self, hashes: &[u64], path: &mut Vec<Step>) -> usize {
        let mut known = 0;
        while let Some(step) = self.step(&hashes[known..]) {
            path.push(step);
            known += step.blocks;
        }
        known
    }

    /// Blocks that nobody has had: at the end of the run before them where that is this holder's alone and ends there, as
    /// when a conversation goes on, else as a run of their own.
    fn remember_new(&mut self, holder: u32, hashes: &[u64], before: Option<&mut Step>) {
        let Some(first) = hashes.first() else { return };
        if let Some(before) = before
            && self.runs[before.run].is_extended_by(holder, before.blocks)
        {
            self.runs[before.run].extend(hashes);
            before.blocks += hashes.len();
            return;
        }
        let run = self.runs.put(Run::of(hashes.to_vec()));
        self.run_at.insert(*first, run);
        self.add_share(run, holder, hashes.len());
    }

    /// Makes this holder's share of a step the newest, and as long as the step.
    fn renew(&mut self, holder: u32, step: Step) {
        let Step { run, blocks } = step;
        let blocks = blocks.min(self.runs[run].len());
        let Some(Share { blocks: held, lease, .. }) = self.runs[run].share_of(holder) else {
            return self.add_share(run, holder, blocks);
        };
        if held > blocks {
            // What comes after the step was not inserted now: it stays as old as it is.
            self.split(run, blocks);
        } else {
            self.runs[run].grow(holder, blocks);
            self.leases.grow(holder, blocks - held);
        }
        self.leases.renew(lease);
    }

    fn add_share(&mut self, run: u32, holder: u32, blocks: usize) {
        let lease = self.leases.add_newest(Lease::of(run, holder), blocks);
        self.runs[run].add(Share { holder, blocks, lease });
    }

    /// Cuts a run in two: each share that reaches beyond `at` becomes two of the same age, the later blocks' the older.
    fn split(&mut self, run: u32, at: usize) {
        let (rest, shares) = self.runs[run].cut(at);
        let first = rest[0];
        let later = self.runs.put(Run::of(rest));
        self.run_at.insert(first, later);
        for Share { holder, blocks, lease } in shares {
            let lease = self.leases.add_behind(lease, Lease::of(later, holder));
            self.runs[later].add(Share { holder, blocks, lease });
        }
    }

    /// Evicted holders' shares go first, then the oldest, each from its end.
    fn make_room(&mut self) {
        for _ in 0..SWEPT_PER_INSERT {
            let Some(lease) = self.leases.any_evicted() else { break };
            self.shorten(lease, usize::MAX);
        }
        while self.leases.blocks_kept() > self.blocks_max {
            let excess = self.leases.blocks_kept() - self.blocks_max;
            if let Some(lease) = self.leases.any_evicted() {
                self.shorten(lease, excess);
            } else {
                let lease = self.leases.oldest().expect("what is kept has leases");
                self.evicted += self.shorten(lease, excess) as u64;
            }
        }
    }

    /// Takes up to `blocks` from a share's end, and the share away with its last; answers how many.
    fn shorten(&mut self, lease: u32, blocks: usize) -> usize {
        let Lease { run, holder, .. } = self.leases[lease];
        let (taken, left) = self.runs[run].shorten(holder, blocks);
        self.leases.shrink(holder, taken);
        if left == 0 {
            self.leases.remove(lease);
        }
        if self.runs[run].shares().is_empty() {
            let first = self.runs[run].first();
            if self.run_at.get(&first) == Some(&run) {
                self.run_at.remove(&first);
            }
            self.runs.free(run);
        }
        taken
    }
}

impl Holder {
    /// The id, where it is a replica.
    pub fn replica(self) -> Option<u32> {
        match self {
            Holder::Replica(id) => Some(id),
            Holder::Region(_) => None,
        }
    }

    /// The id, where it is a region.
    pub fn region(self) -> Option<u32> {
        match self {
            Holder::Region(id) => Some(id),
            Holder::Replica(_) => None,
        }
    }

    /// One number for each.
    fn key(self) -> u64 {
        match self {
            Holder::Replica(id) => u64::from(id),
            Holder::Region(id) => 1 << 32 | u64::from(id),
        }
    }
}

#[cfg(test)]
mod tests;
