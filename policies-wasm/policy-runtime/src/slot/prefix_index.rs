//! Who has seen which prefix: hash -> holders, forgetting the least recently inserted first.
//!
//! A chained hash names a whole prefix, so membership of each hash is enough; no tree is needed.

use std::collections::HashMap;

/// Ends a list of nodes.
const NONE: u32 = u32::MAX;
/// Nodes of evicted holders that go when one node comes: more than one, so that they become fewer.
const SWEPT_PER_BLOCK: usize = 2;

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
    /// Each holder's list; not those of evicted holders.
    list_of: HashMap<Holder, u32>,
    lists: Vec<List>,
    free_lists: Vec<u32>,
    /// Lists of evicted holders. Their nodes are found no more, and go a few at a time: an eviction of a holder of
    /// many blocks must not keep the slot's other calls waiting.
    evicted_lists: Vec<u32>,
    evicted_blocks: usize,
    newest: u32,
    oldest: u32,
    blocks_max: usize,
    evicted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    hash: u64,
    list: u32,
    newer: u32,
    older: u32,
    /// Its neighbours in its holder's list.
    next: u32,
    previous: u32,
}

/// One holder's nodes, in no order.
#[derive(Clone, Copy, Debug)]
struct List {
    holder: Holder,
    first: u32,
    blocks: usize,
    is_evicted: bool,
}

impl PrefixIndex {
    pub(crate) fn new(blocks_max: usize) -> PrefixIndex {
        PrefixIndex {
            nodes_of: HashMap::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            list_of: HashMap::new(),
            lists: Vec::new(),
            free_lists: Vec::new(),
            evicted_lists: Vec::new(),
            evicted_blocks: 0,
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
            let holders = self.nodes_of.get(hash).into_iter().flatten().filter_map(|node| of(self.holder_of(*node)?));
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
        let Some(list) = self.list_of.remove(&holder) else { return };
        let evicted = &mut self.lists[list as usize];
        evicted.is_evicted = true;
        self.evicted_blocks += evicted.blocks;
        self.evicted_lists.push(list);
    }

    /// Blocks remembered, counted once per holder.
    pub(crate) fn blocks_now(&self) -> usize {
        self.nodes_now() - self.evicted_blocks
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
        self.nodes_of.get(&hash)?.iter().copied().find(|node| self.holder_of(*node) == Some(holder))
    }

    /// None where it has been evicted.
    fn holder_of(&self, at: u32) -> Option<Holder> {
        let list = &self.lists[self.nodes[at as usize].list as usize];
        (!list.is_evicted).then_some(list.holder)
    }

    /// Nodes that take up room, those of evicted holders too.
    fn nodes_now(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Adds a node that is in no order yet.
    fn add(&mut self, hash: u64, holder: Holder) {
        self.sweep();
        if self.nodes_now() >= self.blocks_max {
            self.remove(self.oldest);
            self.evicted += 1;
        }
        let list = self.list_for(holder);
        let next = self.lists[list as usize].first;
        let node = Node { hash, list, newer: NONE, older: NONE, next, previous: NONE };
        let at = put(&mut self.nodes, &mut self.free, node);
        if next != NONE {
            self.nodes[next as usize].previous = at;
        }
        self.lists[list as usize].first = at;
        self.lists[list as usize].blocks += 1;
        self.nodes_of.entry(hash).or_default().push(at);
    }

    fn list_for(&mut self, holder: Holder) -> u32 {
        let PrefixIndex { list_of, lists, free_lists, .. } = self;
        let empty = List { holder, first: NONE, blocks: 0, is_evicted: false };
        *list_of.entry(holder).or_insert_with(|| put(lists, free_lists, empty))
    }

    /// Removes a few nodes of evicted holders, the last evicted first: so a holder that is evicted and comes back, again
    /// and again, does not leave ever more of them under one hash.
    fn sweep(&mut self) {
        for _ in 0..SWEPT_PER_BLOCK {
            let Some(list) = self.evicted_lists.last() else { return };
            self.remove(self.lists[*list as usize].first);
        }
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
        self.leave_list(at);
        self.free.push(at);
    }

    /// Takes a node out of its holder's list, and forgets the list with its last node.
    fn leave_list(&mut self, at: u32) {
        let Node { list: id, next, previous, .. } = self.nodes[at as usize];
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        let list = &mut self.lists[id as usize];
        match previous {
            NONE => list.first = next,
            previous => self.nodes[previous as usize].next = next,
        }
        list.blocks -= 1;
        let List { holder, first, is_evicted, .. } = *list;
        self.evicted_blocks -= usize::from(is_evicted);
        if first != NONE {
            return;
        }
        if is_evicted {
            let last = self.evicted_lists.pop();
            debug_assert_eq!(last, Some(id), "only the sweep removes nodes of evicted holders, while there are any");
        } else {
            self.list_of.remove(&holder);
        }
        self.free_lists.push(id);
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

/// Puts `entry` in a free place, or a new one; says where.
fn put<T>(places: &mut Vec<T>, free: &mut Vec<u32>, entry: T) -> u32 {
    if let Some(at) = free.pop() {
        places[at as usize] = entry;
        return at;
    }
    places.push(entry);
    u32::try_from(places.len() - 1).expect("prefix_blocks_max is far below u32::MAX")
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

    #[test]
    fn an_evicted_holder_gives_its_room_to_others_before_any_of_them_is_forgotten() {
        let mut index = index(4, &[(Holder::Replica(2), &[9]), (Holder::Replica(1), &[1, 2, 3])]);
        index.evict(Holder::Replica(1));
        assert_eq!(index.blocks_now(), 1);
        index.insert(Holder::Replica(1), &[1, 2, 3]);
        assert_eq!(index.matches(&[9], Holder::replica), [(2, 1)]);
        assert_eq!(index.matches(&[1, 2, 3], Holder::replica), [(1, 3)]);
        assert_eq!(index.evicted(), 0);
    }

    #[test]
    fn a_holder_that_is_evicted_again_and_again_leaves_nothing_behind() {
        let mut index = index(1000, &[(Holder::Replica(2), &[1])]);
        for _ in 0..100 {
            index.insert(Holder::Replica(1), &[1]);
            index.evict(Holder::Replica(1));
        }
        assert!(index.nodes_of[&1].len() <= 2);
        assert!(index.lists.len() <= 3);
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
                let (mut counted, mut found) = (0, 0);
                let mut at = index.newest;
                while at != NONE {
                    counted += 1;
                    let node = index.nodes[at as usize];
                    if let Some(holder) = index.holder_of(at) {
                        found += 1;
                        prop_assert_eq!(index.find(node.hash, holder), Some(at));
                    }
                    at = node.older;
                }
                prop_assert_eq!(found, index.blocks_now());
                prop_assert_eq!(counted, index.nodes_now());
                prop_assert_eq!(counted, index.nodes_of.values().map(Vec::len).sum::<usize>());
                prop_assert!(counted <= 16);
                let listed: usize = index.list_of.values().map(|list| index.lists[*list as usize].blocks).sum();
                prop_assert_eq!(listed, found);
            }
        }
    }
}
