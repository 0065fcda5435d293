//! Maps by a block's hash or a holder's number: keys that are cheap to mix, and that a policy may have chosen.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
};

/// A map by hash.
pub(super) type ByHash<V> = HashMap<u64, V, Mix>;

/// Mixes a key with a secret, so that no policy can choose keys that fall together: the standard library's hasher keeps
/// that promise too, at ten times the cost.
#[derive(Clone, Debug)]
pub(super) struct Mix {
    secret: u64,
}

/// One key, mixed.
#[derive(Debug)]
pub(super) struct Mixed(u64);

impl Default for Mix {
    fn default() -> Mix {
        Mix { secret: RandomState::new().hash_one(0_u8) }
    }
}

impl BuildHasher for Mix {
    type Hasher = Mixed;

    fn build_hasher(&self) -> Mixed {
        Mixed(self.secret)
    }
}

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    /// A product of 128 bits, folded: every bit of the key reaches every bit of the answer.
    fn write_u64(&mut self, key: u64) {
        let product = u128::from(self.0 ^ key) * 0x9e37_79b9_7f4a_7c15_u128;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
