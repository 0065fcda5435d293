//! How much of a request's prompt each holder has seen, by the host's prefix index.

use crate::{Event, Request, prefix_index};

/// Prompt bytes of one block.
pub const BLOCK_BYTES: u32 = 256;

/// A prompt in whole blocks, and how many leading blocks of it each holder has seen. Make one by hand in a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// Whole blocks of the prompt.
    pub blocks: u32,
    /// Leading blocks that were seen, in the order of the ids asked about.
    pub held: Vec<u32>,
}

impl Prefix {
    /// By replica: row `i` is about `ids[i]`, so that `fleet.id()` gives rows of the fleet.
    pub fn on_replicas(request: &Request<'_>, ids: &[u32]) -> Prefix {
        let blocks = request.prompt_bytes() / BLOCK_BYTES;
        let held = match request.handle() {
            Some(handle) if blocks > 0 => {
                let found = prefix_index::match_replicas(handle);
                by_id(ids, &found.replica, &found.blocks)
            }
            _ => vec![0; ids.len()],
        };
        Prefix { blocks, held }
    }

    /// By region: row `i` is about `ids[i]`.
    pub fn on_regions(request: &Request<'_>, ids: &[u32]) -> Prefix {
        let blocks = request.prompt_bytes() / BLOCK_BYTES;
        let held = match request.handle() {
            Some(handle) if blocks > 0 => {
                let found = prefix_index::match_regions(handle);
                by_id(ids, &found.region, &found.blocks)
            }
            _ => vec![0; ids.len()],
        };
        Prefix { blocks, held }
    }

    /// Remembers that a replica sees the request's prompt. Silent in a test.
    pub fn remember_replica(request: &Request<'_>, id: u32) {
        if let Some(handle) = request.handle() {
            prefix_index::insert(prefix_index::Holder::Replica(id), handle);
        }
    }

    /// Remembers that a region sees the request's prompt. Silent in a test.
    pub fn remember_region(request: &Request<'_>, id: u32) {
        if let Some(handle) = request.handle() {
            prefix_index::insert(prefix_index::Holder::Region(id), handle);
        }
    }

    /// Forgets replicas that went down: they come back with an empty cache. Silent in a test.
    pub fn forget_lost(events: &[Event]) {
        for event in events {
            if let Event::ReplicaDown(id) = event
                && cfg!(target_family = "wasm")
            {
                prefix_index::evict(prefix_index::Holder::Replica(*id));
            }
        }
    }

    /// Whether the holder in `row` has seen at least this share of the prompt, in thousandths. Never of a prompt that
    /// is shorter than a block.
    pub fn reaches(&self, row: usize, permille: u32) -> bool {
        self.blocks > 0 && u64::from(self.held[row]) * 1000 >= u64::from(self.blocks) * u64::from(permille)
    }

    /// The tokens of the prompt that the holder in `row` has not seen, of `tokens` in all. What is left over after the
    /// last whole block counts as not seen.
    pub fn uncached_tokens(&self, row: usize, tokens: u32, prompt_bytes: u32) -> u32 {
        let seen_bytes = u64::from(self.held[row]) * u64::from(BLOCK_BYTES);
        let seen = (u64::from(tokens) * seen_bytes).checked_div(u64::from(prompt_bytes)).unwrap_or(0);
        tokens.saturating_sub(u32::try_from(seen).unwrap_or(u32::MAX))
    }
}

/// The blocks of each of `ids`. The holders found come in the order of their ids and the fleet mostly does too, so the
/// search for one begins behind the last.
fn by_id(ids: &[u32], found: &[u32], blocks: &[u32]) -> Vec<u32> {
    let mut held = vec![0; ids.len()];
    let mut from = 0;
    for (id, blocks) in found.iter().zip(blocks) {
        let (before, behind) = ids.split_at(from);
        let row = match behind.iter().position(|known| known == id) {
            Some(at) => from + at,
            None => match before.iter().position(|known| known == id) {
                Some(at) => at,
                None => continue,
            },
        };
        held[row] = *blocks;
        from = row + 1;
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_go_to_the_rows_of_their_ids() {
        assert_eq!(by_id(&[1, 4, 7], &[4, 7], &[3, 9]), [0, 3, 9]);
        assert_eq!(by_id(&[7, 1, 4], &[1, 2, 4, 7], &[1, 2, 4, 7]), [7, 1, 4], "in any order");
        assert_eq!(by_id(&[], &[1], &[1]), [0; 0]);
        assert_eq!(by_id(&[5], &[], &[]), [0]);
    }

    #[test]
    fn a_share_is_reached_from_its_first_whole_block_on() {
        let prefix = Prefix { blocks: 4, held: vec![2, 1, 0] };
        assert!(prefix.reaches(0, 500));
        assert!(!prefix.reaches(1, 500));
        assert!(prefix.reaches(2, 0));
        assert!(!Prefix { blocks: 0, held: vec![0] }.reaches(0, 0), "a prompt without a block matches nobody");
    }

    #[test]
    fn tokens_are_seen_in_proportion_to_their_bytes() {
        let prefix = Prefix { blocks: 4, held: vec![4, 2, 0, 5] };
        assert_eq!(prefix.uncached_tokens(0, 256, 1024), 0);
        assert_eq!(prefix.uncached_tokens(1, 256, 1024), 128);
        assert_eq!(prefix.uncached_tokens(2, 256, 1024), 256);
        assert_eq!(prefix.uncached_tokens(0, 300, 1200), 44, "the rest after the last block is not seen");
        assert_eq!(prefix.uncached_tokens(3, 256, 1024), 0);
        assert_eq!(prefix.uncached_tokens(0, 7, 0), 7);
    }
}
