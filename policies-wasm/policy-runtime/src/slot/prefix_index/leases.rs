//! The order in which shares are forgotten, and each holder's shares.

use std::ops::Index;

use super::{Holder, keys::ByHash};

/// Ends a list.
const NONE: u32 = u32::MAX;

/// The place of one share, in the order of age and among its holder's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub run: u32,
    pub holder: u32,
    newer: u32,
    older: u32,
    next: u32,
    previous: u32,
}

/// One holder and the list of its leases, in no order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub id: Holder,
    pub is_evicted: bool,
    /// How far the match that is going on has followed it; 0 between matches.
    pub reach: usize,
    first: u32,
    blocks: usize,
}

/// All leases, and their holders by number.
#[derive(Debug)]
pub(super) struct Leases {
    places: Vec<Lease>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    pub holders: Vec<Held>,
    holders_free: Vec<u32>,
    /// Not those of evicted holders.
    number_by_key: ByHash<u32>,
    /// Evicted holders that still have leases. The last goes first: so a holder that is evicted and comes back, again
    /// and again, does not leave ever more of them in one run.
    evicted: Vec<u32>,
    blocks_kept: usize,
    blocks_evicted: usize,
}

impl Default for Leases {
    fn default() -> Leases {
        Leases {
            places: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            holders: Vec::new(),
            holders_free: Vec::new(),
            number_by_key: ByHash::default(),
            evicted: Vec::new(),
            blocks_kept: 0,
            blocks_evicted: 0,
        }
    }
}

impl Lease {
    pub(super) fn of(run: u32, holder: u32) -> Lease {
        Lease { run, holder, newer: NONE, older: NONE, next: NONE, previous: NONE }
    }
}

impl Leases {
    /// A holder's number, given to it when it is first asked for.
    pub(super) fn number_of(&mut self, id: Holder) -> u32 {
        let Leases { holders, holders_free, number_by_key, .. } = self;
        let nothing = Held { id, is_evicted: false, reach: 0, first: NONE, blocks: 0 };
        *number_by_key.entry(id.key()).or_insert_with(|| put(holders, holders_free, nothing))
    }

    /// Blocks of all holders that are not evicted.
    pub(super) fn blocks_held(&self) -> usize {
        self.blocks_kept - self.blocks_evicted
    }

    /// Blocks that take up room, those of evicted holders too.
    pub(super) fn blocks_kept(&self) -> usize {
        self.blocks_kept
    }

    /// The share that goes next.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// A share of an evicted holder.
    pub(super) fn any_evicted(&self) -> Option<u32> {
        let holder = self.evicted.last()?;
        Some(self.holders[*holder as usize].first)
    }

    /// A new share, newer than all others.
    pub(super) fn add_newest(&mut self, lease: Lease, blocks: usize) -> u32 {
        self.grow(lease.holder, blocks);
        let at = self.add(lease);
        self.link_newest(at);
        at
    }

    /// A share that was part of another until now, just older than that.
    pub(super) fn add_behind(&mut self, newer: u32, lease: Lease) -> u32 {
        let at = self.add(lease);
        let older = self.places[newer as usize].older;
        self.places[at as usize].newer = newer;
        self.places[at as usize].older = older;
        self.places[newer as usize].older = at;
        match older {
            NONE => self.oldest = at,
            older => self.places[older as usize].newer = at,
        }
        at
    }

    /// Makes a share newer than all others.
    pub(super) fn renew(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.link_newest(at);
        }
    }

    /// A holder has more blocks.
    pub(super) fn grow(&mut self, holder: u32, blocks: usize) {
        self.holders[holder as usize].blocks += blocks;
        self.blocks_kept += blocks;
    }

    /// A holder, evicted perhaps, has fewer.
    pub(super) fn shrink(&mut self, holder: u32, blocks: usize) {
        let holder = &mut self.holders[holder as usize];
        holder.blocks -= blocks;
        self.blocks_kept -= blocks;
        self.blocks_evicted -= if holder.is_evicted { blocks } else { 0 };
    }

    /// A share without blocks goes, and its holder with its last.
    pub(super) fn remove(&mut self, at: u32) {
        self.unlink(at);
        self.free.push(at);
        let Lease { holder: number, next, previous, .. } = self.places[at as usize];
        if next != NONE {
            self.places[next as usize].previous = previous;
        }
        let holder = &mut self.holders[number as usize];
        match previous {
            NONE => holder.first = next,
            previous => self.places[previous as usize].next = next,
        }
        let Held { id, is_evicted, first, .. } = *holder;
        if first != NONE {
            return;
        }
        if is_evicted {
            let last = self.evicted.pop();
            debug_assert_eq!(last, Some(number), "while there are evicted holders, only the last's shares go");
        } else {
            self.number_by_key.remove(&id.key());
        }
        self.holders_free.push(number);
    }

    /// From now on the holder has nothing; what it had takes up room until it is removed.
    pub(super) fn evict(&mut self, id: Holder) {
        let Some(number) = self.number_by_key.remove(&id.key()) else { return };
        let holder = &mut self.holders[number as usize];
        holder.is_evicted = true;
        self.blocks_evicted += holder.blocks;
        self.evicted.push(number);
    }

    fn add(&mut self, lease: Lease) -> u32 {
        let next = self.holders[lease.holder as usize].first;
        let at = put(&mut self.places, &mut self.free, Lease { next, ..lease });
        if next != NONE {
            self.places[next as usize].previous = at;
        }
        self.holders[lease.holder as usize].first = at;
        at
    }

    fn unlink(&mut self, at: u32) {
        let Lease { newer, older, .. } = self.places[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.places[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.places[older as usize].newer = newer,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let older = self.newest;
        self.places[at as usize].newer = NONE;
        self.places[at as usize].older = older;
        match older {
            NONE => self.oldest = at,
            older => self.places[older as usize].newer = at,
        }
        self.newest = at;
    }

    /// From the newest to the oldest.
    #[cfg(test)]
    pub(super) fn by_age(&self) -> impl Iterator<Item = u32> {
        let there = |at: u32| (at != NONE).then_some(at);
        std::iter::successors(there(self.newest), move |at| there(self.places[*at as usize].older))
    }
}

impl Index<u32> for Leases {
    type Output = Lease;

    fn index(&self, lease: u32) -> &Lease {
        &self.places[lease as usize]
    }
}

/// Puts `entry` in a free place, or a new one; says where.
pub(super) fn put<T>(places: &mut Vec<T>, free: &mut Vec<u32>, entry: T) -> u32 {
    if let Some(at) = free.pop() {
        places[at as usize] = entry;
        return at;
    }
    places.push(entry);
    u32::try_from(places.len() - 1).expect("prefix_blocks_max is far below u32::MAX")
}
