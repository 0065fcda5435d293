//! What a policy may know of one request.

use std::sync::OnceLock;

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::Prompt;

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
    pub prompt: Prompt,
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
            let (mut chain, mut hashes) = (0, Vec::with_capacity(self.prompt.len() / BLOCK_BYTES));
            self.prompt.each_block::<BLOCK_BYTES>(|block| {
                chain = chained(chain, xxh3_64(block));
                hashes.push(chain);
            });
            hashes
        })
    }

    /// Names what a policy could see of the request, the prompt included, but not which request it is: equal requests
    /// have equal digests. Of the prompt's whole blocks it takes the hashes, which policies want too: no byte is hashed
    /// twice.
    pub fn digest(&self) -> u64 {
        let RequestFacts {
            id: _,
            endpoint,
            model,
            tenant,
            session,
            priority,
            prompt_tokens_estimate,
            output_tokens_max,
            stream,
            hop,
            prompt,
            tokens,
            headers,
            block_hashes: _,
        } = self;
        let mut digest = Xxh3Default::new();
        // Each part's length goes before it, so that no two lists of parts read alike.
        let mut part = |bytes: &[u8]| {
            digest.update(&(bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        [endpoint, model, tenant].into_iter().for_each(|text| part(text.as_bytes()));
        part(&[u8::from(session.is_some())]);
        part(session.as_deref().unwrap_or_default().as_bytes());
        for number in [*priority, *prompt_tokens_estimate, *output_tokens_max, u32::from(*stream), *hop] {
            part(&number.to_le_bytes());
        }
        part(&(prompt.len() as u64).to_le_bytes());
        part(&self.block_hashes().last().copied().unwrap_or(0).to_le_bytes());
        part(&prompt.range(prompt.len() / BLOCK_BYTES * BLOCK_BYTES, BLOCK_BYTES));
        part(&tokens.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<u8>>());
        for (name, value) in headers {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        digest.digest()
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

    #[test]
    fn a_digest_is_of_what_is_asked_and_not_of_who_is_first() {
        let asked = |id, model: &str, tenant: &str, prompt: &'static [u8]| {
            let (model, tenant) = (model.to_owned(), tenant.to_owned());
            RequestFacts { id, model, tenant, prompt: prompt.into(), ..RequestFacts::default() }.digest()
        };
        let digest = asked(1, "tiny", "acme", b"hello");
        assert_eq!(digest, asked(2, "tiny", "acme", b"hello"));
        assert_ne!(digest, asked(1, "tiny", "acme", b"hallo"));
        assert_ne!(asked(1, "", "", &[1; 600]), asked(1, "", "", &[1; 601]));
        let one_byte_is_another: &'static [u8] = &[[1; 255], [2; 255]].concat().leak()[..];
        assert_ne!(asked(1, "", "", &[1; 510]), asked(1, "", "", one_byte_is_another));
        assert_ne!(digest, asked(1, "tinya", "cme", b"hello"), "one part's end is not another's beginning");
    }
}
