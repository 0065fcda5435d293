//! What a policy may know of one request.

use std::sync::OnceLock;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// Prompt bytes that make one hashed block. About 64 tokens of English.
pub const BLOCK_BYTES: usize = 256;

/// The facts of one request. Cheap fields are plain; what costs work is made when first asked for.
#[derive(Debug, Default)]
pub struct RequestFacts {
    /// Unique in this process.
    pub id: u64,
    /// The path asked for, e.g. `/v1/chat/completions`.
    pub endpoint: String,
    /// The model asked for.
    pub model: String,
    /// Who asks; "anonymous" where no key names a tenant.
    pub tenant: String,
    /// What ties the turns of one conversation together, when the client sends it.
    pub session: Option<String>,
    /// 0 is ordinary, higher is more urgent.
    pub priority: u32,
    /// Estimated prompt tokens.
    pub prompt_tokens_estimate: u32,
    /// The client's bound on output tokens; 0 when it gave none.
    pub output_tokens_max: u32,
    /// The client wants a stream.
    pub stream: bool,
    /// How many proxies the request has passed before this one.
    pub hop: u32,
    /// The prompt's text as bytes, in order (all messages' contents, or the prompt).
    pub prompt: Bytes,
    /// The prompt's token ids, when the client sent ids instead of text.
    pub tokens: Vec<u32>,
    /// The request headers a policy may see: lower-case name, value. Never credentials.
    pub headers: Vec<(String, String)>,
    /// Kept by [`RequestFacts::block_hashes`]; starts as the default.
    pub block_hashes: OnceLock<Vec<u64>>,
}

impl RequestFacts {
    /// Chained hashes over whole blocks of [`BLOCK_BYTES`] prompt bytes: equal hashes mean equal prefixes up to there.
    /// Made at the first call, kept for later ones.
    pub fn block_hashes(&self) -> &[u64] {
        self.block_hashes.get_or_init(|| {
            self.prompt
                .chunks_exact(BLOCK_BYTES)
                .scan(0_u64, |chain, block| {
                    *chain = chained(*chain, xxh3_64(block));
                    Some(*chain)
                })
                .collect()
        })
    }

    /// The value of a header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A block's hash together with that of all before it: their product with a constant, folded. As a seed of the block's
/// hash, the chain would cost a new secret for each block, half as much again as the hash itself.
fn chained(chain: u64, block: u64) -> u64 {
    let product = u128::from(chain.rotate_left(32) ^ block) * 0x9e37_79b9_7f4a_7c15_u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes_of(prompt: Vec<u8>) -> Vec<u64> {
        RequestFacts { prompt: prompt.into(), ..RequestFacts::default() }.block_hashes().to_vec()
    }

    #[test]
    fn a_partial_block_has_no_hash() {
        assert_eq!(hashes_of(vec![7; BLOCK_BYTES * 2 - 1]).len(), 1);
    }

    #[test]
    fn a_shared_prefix_shares_its_hashes_and_nothing_after_it() {
        let one = vec![1; BLOCK_BYTES * 3];
        let mut other = one.clone();
        other[BLOCK_BYTES] = 9;
        let (one, other) = (hashes_of(one), hashes_of(other));
        assert_eq!(one[0], other[0]);
        assert_ne!(one[1], other[1]);
        assert_ne!(one[2], other[2], "a hash names the whole prefix, not its own block");
    }
}
