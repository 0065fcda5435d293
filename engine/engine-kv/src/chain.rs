//! Names the content of a full block, together with everything before it, by 128 bits.

use xxhash_rust::xxh3::Xxh3;

/// The hash of a prefix that ends at a block's border.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ChainHash(u128);

impl ChainHash {
    /// Before the first block. Another salt makes another, disjoint cache (an adapter, a tenant).
    pub(crate) fn root(salt: u64) -> ChainHash {
        ChainHash(u128::from(salt))
    }

    /// This prefix and one more full block.
    pub(crate) fn then(self, tokens: &[u32]) -> ChainHash {
        let mut hash = Xxh3::new();
        hash.update(&self.0.to_le_bytes());
        for token in tokens {
            hash.update(&token.to_le_bytes());
        }
        ChainHash(hash.digest128())
    }
}
