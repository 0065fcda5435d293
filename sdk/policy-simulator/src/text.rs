//! Made-up text: whole tokens of four bytes each, so that equal text is equal tokens wherever it stands.

use rand::Rng;

/// Bytes of one token, as the proxy estimates them.
pub(crate) const TOKEN_BYTES: usize = 4;

const WORDS: [&str; 48] = [
    "river", "gate", "water", "level", "token", "block", "cache", "stream", "batch", "model", "prompt", "answer",
    "north", "south", "valley", "pump", "lake", "spring", "canal", "engine", "meter", "flow", "rate", "queue", "first",
    "second", "third", "where", "when", "how", "which", "many", "open", "close", "route", "place", "hold", "send",
    "count", "time", "light", "stone", "bridge", "field", "harbour", "window", "paper", "and",
];

/// A heading and so many words after it.
pub(crate) fn words(chance: &mut impl Rng, heading: &str, count: u32) -> Vec<u8> {
    let mut text = heading.as_bytes().to_vec();
    for _ in 0..count {
        text.push(b' ');
        text.extend_from_slice(WORDS[chance.random_range(0..WORDS.len())].as_bytes());
    }
    text.resize(text.len().next_multiple_of(TOKEN_BYTES), b' ');
    text
}

/// The tokens of text.
pub(crate) fn tokens(text: &[u8]) -> Vec<u32> {
    debug_assert!(text.len().is_multiple_of(TOKEN_BYTES), "text is made of whole tokens");
    text.as_chunks().0.iter().map(|token| u32::from_le_bytes(*token)).collect()
}

/// The token that stands at `position` in the answer named `key`; another key's answer is another text.
pub(crate) fn answer_token(key: u64, position: u32) -> u32 {
    let mut mixed = (key ^ (u64::from(position) << 32)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let letters = (mixed ^ (mixed >> 31)).to_le_bytes();
    u32::from_le_bytes([0, 1, 2, 3].map(|at| b'a' + letters[at] % 26))
}

/// A whole answer, as its client reads it.
pub(crate) fn answer(key: u64, tokens: u32) -> Vec<u8> {
    (0..tokens).flat_map(|position| answer_token(key, position).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn an_answer_read_back_is_the_tokens_that_were_sampled() {
        let read = tokens(&answer(7, 5));
        assert_eq!(read, (0..5).map(|position| answer_token(7, position)).collect::<Vec<_>>());
        assert_ne!(read, tokens(&answer(8, 5)));
    }

    #[test]
    fn text_is_whole_tokens() {
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        for count in 0..20 {
            assert!(words(&mut chance, "Guide", count).len().is_multiple_of(TOKEN_BYTES));
        }
    }
}
