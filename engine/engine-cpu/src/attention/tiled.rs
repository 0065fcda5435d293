//! A stretch's two products by tiles.

use half::bf16;

use super::row::Rows;
use super::stretch::Stretch;
use super::tile;
use crate::lanes::WIDTH;
use crate::meeting::Meeting;

/// Keys by sixteen that are scored at once.
const AT_ONCE: usize = 4;
/// Dimensions of values that are summed at once.
const DIMS: usize = 64;

impl<M: Meeting> Stretch<'_, M> {
    /// Every row's products with every key.
    ///
    /// # Safety
    /// Tiles are ready and fit the cache, whose numbers are bf16 as `queries` are; these and `scores` have room for whole
    /// tiles of `count` rows.
    pub(super) unsafe fn score_tiles(&self, queries: &[M::Factor], scores: &mut [f32], count: usize) {
        let (tokens, dim) = (self.walk.sides.tokens, self.walk.attend.cache.shape.heads.dim);
        let by_block = self.blocks.iter().map(|block| block.keys.cast::<bf16>());
        // SAFETY: inside the block.
        let keys: Vec<*const bf16> = by_block
            .flat_map(|keys| (0..tokens).step_by(WIDTH).map(move |token| unsafe { keys.add(token * 2) }))
            .collect();
        let (key_stride, to_stride) = (tokens * 2 * size_of::<bf16>(), self.columns * size_of::<f32>());
        for row in (0..count).step_by(WIDTH) {
            // SAFETY: the caller's promise.
            unsafe {
                let queries = queries.as_ptr().cast::<bf16>().add(row * dim);
                let to = scores.as_mut_ptr().add(row * self.columns);
                for (at, keys) in keys.chunks(AT_ONCE).enumerate() {
                    let to = to.add(at * AT_ONCE * WIDTH);
                    tile::score(queries, dim, (keys, key_stride), (to, to_stride));
                }
            }
        }
    }

    /// Adds the values, each by its share: those that are not seen have none.
    ///
    /// # Safety
    /// As for [`Stretch::score_tiles`].
    pub(super) unsafe fn gather_tiles(&self, shares: &[M::Factor], rows: &mut Rows) {
        let block_tokens = self.walk.attend.cache.shape.block_tokens;
        let (share_stride, value_stride) = (self.columns * size_of::<bf16>(), rows.dim * 2 * size_of::<bf16>());
        for row in (0..rows.greatest.len()).step_by(WIDTH) {
            for dim in (0..rows.dim).step_by(DIMS) {
                // SAFETY: the caller's promise.
                unsafe {
                    let at = rows.sums.as_mut_ptr().add(row * rows.dim + dim);
                    let sums = tile::Sums { at, stride: rows.dim * size_of::<f32>() };
                    sums.load();
                    for (index, block) in self.blocks.iter().enumerate() {
                        let shares = shares.as_ptr().cast::<bf16>().add(row * self.columns + index * block_tokens);
                        let values = block.values.cast::<bf16>().add(dim * 2);
                        for token in (0..block_tokens).step_by(WIDTH) {
                            let values = values.add(token * rows.dim);
                            tile::Sums::add((shares.add(token), share_stride), (values, value_stride));
                        }
                    }
                    sums.store();
                }
            }
        }
    }
}
