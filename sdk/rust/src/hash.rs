//! Hashes that are the same on every machine and in every version.

/// Spreads a number over all 64 bits (SplitMix64's finaliser).
pub fn mix64(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A hash of bytes, eight at a time. Not for secrets: who knows it can make two texts that share one.
pub fn hash64(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix64(hash ^ u64::from_le_bytes(*word)));
    let last = rest.iter().rev().fold(0_u64, |last, byte| last << 8 | u64::from(*byte));
    mix64(hash ^ last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_the_length_count() {
        let texts: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"abcdefgh", b"abcdefgi", b"abcdefgh\0", b"abcdefghi"];
        let mut hashes: Vec<u64> = texts.into_iter().map(hash64).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), texts.len());
    }

    #[test]
    fn it_never_changes() {
        assert_eq!(hash64(b"session-1"), hash64(b"session-1"));
        assert_eq!(mix64(0), 0xe220_a839_7b1d_cdaf, "SplitMix64's first output from seed 0");
    }
}
