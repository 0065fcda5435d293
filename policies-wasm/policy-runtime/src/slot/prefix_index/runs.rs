//! Runs of blocks that came together, and who has how much of each.

use std::ops::{Index, IndexMut};

use super::leases::put;

/// Blocks one after another, and their holders' shares. Never without a share, but while it is made or goes.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// As many as the longest share.
    hashes: Vec<u64>,
    first: u64,
    /// In no order.
    shares: Vec<Share>,
    /// A holder's prefixes part at its end, so it is not extended: it would only be cut there again.
    is_fork: bool,
}

/// How many of a run's leading blocks a holder has; at least one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// By its number in [`super::Leases`].
    pub holder: u32,
    pub blocks: usize,
    /// Its place in the order of age.
    pub lease: u32,
}

/// All runs, by their number.
#[derive(Debug, Default)]
pub(super) struct Runs {
    places: Vec<Run>,
    free: Vec<u32>,
}

impl Run {
    pub(super) fn of(hashes: Vec<u64>) -> Run {
        let first = hashes[0];
        Run { hashes, first, shares: Vec::new(), is_fork: false }
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// The hash that it is found by.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn shares(&self) -> &[Share] {
        &self.shares
    }

    pub(super) fn add(&mut self, share: Share) {
        self.shares.push(share);
    }

    pub(super) fn share_of(&self, holder: u32) -> Option<Share> {
        self.shares.iter().copied().find(|share| share.holder == holder)
    }

    /// How many blocks it has in common with hashes that begin with its first. Because a hash names all before it, the
    /// last that could be equal tells; else the place where they part is found by halving.
    pub(super) fn common(&self, hashes: &[u64]) -> usize {
        let ours = &self.hashes[..self.hashes.len().min(hashes.len())];
        let last = ours.len() - 1;
        if ours[last] == hashes[last] {
            return ours.len();
        }
        let (mut equal, mut other) = (1, last);
        while equal < other {
            let middle = equal + (other - equal) / 2;
            if ours[middle] == hashes[middle] { equal = middle + 1 } else { other = middle }
        }
        equal
    }

    /// Whether what this holder has after `blocks` of it can be added to it.
    pub(super) fn is_extended_by(&self, holder: u32, blocks: usize) -> bool {
        let [only] = &self.shares[..] else { return false };
        !self.is_fork && only.holder == holder && only.blocks == blocks && blocks == self.len()
    }

    pub(super) fn extend(&mut self, hashes: &[u64]) {
        self.hashes.extend_from_slice(hashes);
    }

    /// Makes a holder's share this long.
    pub(super) fn grow(&mut self, holder: u32, blocks: usize) {
        let share = self.shares.iter_mut().find(|share| share.holder == holder);
        share.expect("only a share there is grows").blocks = blocks;
    }

    /// Keeps the first `at` blocks; answers the others, and who has how many of them, with the leases of the first.
    pub(super) fn cut(&mut self, at: usize) -> (Vec<u64>, Vec<Share>) {
        let mut later = Vec::with_capacity(self.shares.len());
        for share in &mut self.shares {
            if share.blocks > at {
                later.push(Share { blocks: share.blocks - at, ..*share });
                share.blocks = at;
            }
        }
        self.is_fork = true;
        (self.hashes.split_off(at), later)
    }

    /// Takes up to `blocks` from a share's end; answers how many were taken and how many are left.
    pub(super) fn shorten(&mut self, holder: u32, blocks: usize) -> (usize, usize) {
        let at = self.shares.iter().position(|share| share.holder == holder);
        let at = at.expect("a lease's run has its holder's share");
        let share = &mut self.shares[at];
        let taken = blocks.min(share.blocks);
        share.blocks -= taken;
        let left = share.blocks;
        if left == 0 {
            self.shares.swap_remove(at);
        }
        if left + taken == self.len() {
            let longest = self.shares.iter().map(|share| share.blocks).max().unwrap_or_default();
            self.hashes.truncate(longest);
            // Room is given back by halves, so that doing so costs little for each block.
            if longest < self.hashes.capacity() / 2 {
                self.hashes.shrink_to_fit();
            }
        }
        (taken, left)
    }
}

impl Runs {
    pub(super) fn put(&mut self, run: Run) -> u32 {
        put(&mut self.places, &mut self.free, run)
    }

    pub(super) fn free(&mut self, run: u32) {
        self.places[run as usize] = Run::default();
        self.free.push(run);
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Run)> {
        (0..).zip(&self.places).filter(|(_, run)| !run.shares.is_empty())
    }
}

impl Index<u32> for Runs {
    type Output = Run;

    fn index(&self, run: u32) -> &Run {
        &self.places[run as usize]
    }
}

impl IndexMut<u32> for Runs {
    fn index_mut(&mut self, run: u32) -> &mut Run {
        &mut self.places[run as usize]
    }
}
