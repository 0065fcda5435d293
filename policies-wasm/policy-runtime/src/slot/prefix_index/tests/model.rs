//! The index as its contract says it, one entry for each block and holder: slow, and plainly right.

use std::collections::HashMap;

use super::Holder;

/// When a block was last inserted for a holder, and how deep in its prefix it is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Age {
    turn: u64,
    depth: usize,
}

pub struct Model {
    ages: HashMap<(Holder, u64), Age>,
    blocks_max: usize,
    turn: u64,
}

impl Model {
    pub fn new(blocks_max: usize) -> Model {
        Model { ages: HashMap::new(), blocks_max, turn: 0 }
    }

    pub fn blocks_now(&self) -> usize {
        self.ages.len()
    }

    pub fn insert(&mut self, holder: Holder, hashes: &[u64]) {
        self.turn += 1;
        for (depth, hash) in hashes.iter().take(self.blocks_max).enumerate() {
            self.ages.insert((holder, *hash), Age { turn: self.turn, depth });
        }
        while self.ages.len() > self.blocks_max {
            // The least recently inserted; of those inserted together, the deepest.
            let oldest = self.ages.iter().min_by_key(|(_, age)| (age.turn, usize::MAX - age.depth));
            let oldest = *oldest.unwrap().0;
            self.ages.remove(&oldest);
        }
    }

    pub fn evict(&mut self, holder: Holder) {
        self.ages.retain(|(held_by, _), _| *held_by != holder);
    }

    pub fn matches(&self, hashes: &[u64], of: fn(Holder) -> Option<u32>) -> (Vec<u32>, Vec<u32>) {
        let mut holders: Vec<Holder> = self.ages.keys().map(|(holder, _)| *holder).collect();
        holders.sort_unstable();
        holders.dedup();
        let held = |holder: Holder| hashes.iter().take_while(|hash| self.ages.contains_key(&(holder, **hash))).count();
        let rows = holders.into_iter().filter_map(|holder| Some((of(holder)?, held(holder) as u32)));
        rows.filter(|(_, blocks)| *blocks > 0).unzip()
    }
}
