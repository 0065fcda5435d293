//! Who has seen which prefix: hash -> holders, forgetting the least recently inserted first.
//!
//! A chained hash names a whole prefix, so membership of each hash is enough; no tree is needed.

use std::collections::HashMap;

/// Ends a list of nodes.
const NONE: u32 = u32::MAX;

/// Who holds a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// By [`policy_api::ReplicaId`].
    Replica(u32),
    /// By [`policy_api::RegionId`].
    Region(u32),
}

/// The index of one slot.
#[derive(Debug)]
pub(crate) struct PrefixIndex {
    /// A hash's nodes, one per holder.
    nodes_of: HashMap<u64, Vec<u32>>,
    nodes: Vec<Node>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    blocks_max: usize,
    evicted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    hash: u64,
    holder: Holder,
    newer: u32,
    older: u32,
}

impl PrefixIndex {
    pub(crate) fn new(blocks_max: usize) -> PrefixIndex {
        PrefixIndex {
            nodes_of: HashMap::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            blocks_max,
            evicted: 0,
        }
    }

    /// Each holder of a kind with the leading blocks it holds, in the order of their ids. `of` picks the kind.
    pub(crate) fn matches(&self, hashes: &[u64], of: fn(Holder) -> Option<u32>) -> Vec<(u32, u32)> {
        let mut matches: Vec<(u32, u32)> = Vec::new();
        for (depth, hash) in (0_u32..).zip(hashes) {
            let holders =
                self.nodes_of.get(hash).into_iter().flatten().filter_map(|node| of(self.nodes[*node as usize].holder));
            let mut found = false;
            for id in holders {
                if depth == 0 {
                    matches.push((id, 1));
                    found = true;
                } else if let Some((_, blocks)) =
                    matches.iter_mut().find(|(held, blocks)| *held == id && *blocks == depth)
                {
                    *blocks += 1;
                    found = true;
                }
            }
            if !found {
                break;
            }
        }
        matches.sort_unstable();
        matches
    }

    /// Remembers that `holder` has seen this prefix. Its first block becomes the newest, so that a prefix is forgotten
    /// from its end.
    pub(crate) fn insert(&mut self, holder: Holder, hashes: &[u64]) {
        let kept = &hashes[..hashes.len().min(self.blocks_max)];
        for hash in kept.iter().rev() {
            match self.find(*hash, holder) {
                Some(node) => self.unlink(node),
                None => self.add(*hash, holder),
            }
            let node = self.find(*hash, holder).expect("it was found or has just been added");
            self.link_newest(node);
        }
    }

    /// Forgets everything about `holder`.
    pub(crate) fn evict(&mut self, holder: Holder) {
        let mut at = self.newest;
        while at != NONE {
            let node = self.nodes[at as usize];
            if node.holder == holder {
                self.remove(at);
            }
            at = node.older;
        }
    }

    /// Blocks remembered, counted once per holder.
    pub(crate) fn blocks_now(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// The bound on [`Self::blocks_now`].
    pub(crate) fn blocks_max(&self) -> usize {
        self.blocks_max
    }

    /// Blocks forgotten for want of room.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    fn find(&self, hash: u64, holder: Holder) -> Option<u32> {
        self.nodes_of.get(&hash)?.iter().copied().find(|node| self.nodes[*node as usize].holder == holder)
    }

    /// Adds a node that is in no order yet.
    fn add(&mut self, hash: u64, holder: Holder) {
        if self.blocks_now() >= self.blocks_max {
            self.remove(self.oldest);
            self.evicted += 1;
        }
        let node = Node { hash, holder, newer: NONE, older: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("prefix_blocks_max is far below u32::MAX")
            }
        };
        self.nodes_of.entry(hash).or_default().push(at);
    }

    fn remove(&mut self, at: u32) {
        self.unlink(at);
        let hash = self.nodes[at as usize].hash;
        if let Some(nodes) = self.nodes_of.get_mut(&hash) {
            nodes.retain(|node| *node != at);
            if nodes.is_empty() {
                self.nodes_of.remove(&hash);
            }
        }
        self.free.push(at);
    }

    fn unlink(&mut self, at: u32) {
        let Node { newer, older, .. } = self.nodes[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let older = self.newest;
        self.nodes[at as usize].newer = NONE;
        self.nodes[at as usize].older = older;
        match older {
            NONE => self.oldest = at,
            older => self.nodes[older as usize].newer = at,
        }
        self.newest = at;
    }
}

impl Holder {
    /// The id, where it is a replica.
    pub(crate) fn replica(self) -> Option<u32> {
        match self {
            Holder::Replica(id) => Some(id),
            Holder::Region(_) => None,
        }
    }

    /// The id, where it is a region.
    pub(crate) fn region(self) -> Option<u32> {
        match self {
            Holder::Region(id) => Some(id),
            Holder::Replica(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(blocks_max: usize, inserts: &[(Holder, &[u64])]) -> PrefixIndex {
        let mut index = PrefixIndex::new(blocks_max);
        for (holder, hashes) in inserts {
            index.insert(*holder, hashes);
        }
        index
    }

    #[test]
    fn each_holder_matches_as_far_as_it_holds_without_a_gap() {
        let index = index(
            100,
            &[
                (Holder::Replica(7), &[1, 2, 3]),
                (Holder::Replica(3), &[1]),
                (Holder::Replica(5), &[2, 3]),
                (Holder::Region(9), &[1, 2]),
            ],
        );
        assert_eq!(index.matches(&[1, 2, 3, 4], Holder::replica), [(3, 1), (7, 3)]);
        assert_eq!(index.matches(&[1, 2, 3, 4], Holder::region), [(9, 2)]);
        assert_eq!(index.matches(&[8], Holder::replica), []);
    }

    #[test]
    fn a_prefix_is_forgotten_from_its_end() {
        let mut index = index(3, &[(Holder::Replica(1), &[1, 2, 3])]);
        index.insert(Holder::Replica(2), &[10]);
        assert_eq!(index.matches(&[1, 2, 3], Holder::replica), [(1, 2)]);
        assert_eq!(index.matches(&[10], Holder::replica), [(2, 1)]);
        assert_eq!(index.evicted(), 1);
    }

    #[test]
    fn an_evicted_holder_is_gone_and_others_stay() {
        let mut index = index(100, &[(Holder::Replica(1), &[1, 2]), (Holder::Replica(2), &[1, 2])]);
        index.evict(Holder::Replica(1));
        assert_eq!(index.matches(&[1, 2], Holder::replica), [(2, 2)]);
        assert_eq!(index.blocks_now(), 2);
    }

    proptest! {
        #[test]
        fn its_lists_stay_whole(
            acts in proptest::collection::vec((0_u32..4, 0_u64..20, 1_u64..12, any::<bool>()), 0..80),
        ) {
            let mut index = PrefixIndex::new(16);
            for (replica, first, blocks, evict) in acts {
                let hashes: Vec<u64> = (first..first + blocks).collect();
                if evict {
                    index.evict(Holder::Replica(replica));
                    prop_assert!(index.matches(&hashes, Holder::replica).iter().all(|(id, _)| *id != replica));
                } else {
                    index.insert(Holder::Replica(replica), &hashes);
                    let matches = index.matches(&hashes, Holder::replica);
                    let blocks = u32::try_from(blocks).unwrap();
                    prop_assert!(matches.contains(&(replica, blocks)), "what was just inserted matches whole");
                }
                let mut counted = 0;
                let mut at = index.newest;
                while at != NONE {
                    counted += 1;
                    let node = index.nodes[at as usize];
                    prop_assert_eq!(index.find(node.hash, node.holder), Some(at));
                    at = node.older;
                }
                prop_assert_eq!(counted, index.blocks_now());
                prop_assert_eq!(counted, index.nodes_of.values().map(Vec::len).sum::<usize>());
                prop_assert!(counted <= 16);
            }
        }
    }
}
