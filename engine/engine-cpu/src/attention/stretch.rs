//! One group of rows over one part of its context: scores, softmax, values, stretch by stretch.

use std::ops::Range;

use half::bf16;

use super::blocks::{AsTheyAre, Block, Blocks, Expanded, Factor};
use super::row::Rows;
#[cfg(target_arch = "x86_64")]
use super::tile;
use super::{Attend, Group};
use crate::cache::{KvType, Layer, Sides};
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::lanes::Avx512;
use crate::lanes::{Lanes, Vectors, WIDTH, on, tanh};
#[cfg(target_arch = "x86_64")]
use crate::meeting::PairsDotted;
use crate::meeting::{MeetingIn, PairsRounded, Wide, meet};

/// Sums a range of positions, `stretch` of them at a time, into `rows`.
///
/// # Safety
/// `attend.isa` was detected, and the step was checked against the cache.
pub(super) unsafe fn walk(
    attend: &Attend<'_>,
    group: &Group,
    head: usize,
    (positions, stretch): (Range<usize>, usize),
    rows: &mut Rows,
) {
    let sides = attend.cache.sides();
    let walk = Walk { attend, group, head, positions, stretch, sides, products: Products::Lanes };
    // SAFETY: the caller's promise.
    unsafe {
        match attend.cache.layer(attend.attention.layer) {
            Layer::F32 { keys, values } => {
                let blocks = AsTheyAre { keys, values, sides, kv: KvType::F32 };
                on(attend.isa, Widened { walk, blocks, rows });
            }
            Layer::Bf16 { keys, values } => {
                let blocks = AsTheyAre { keys, values, sides, kv: KvType::Bf16 };
                in_pairs(attend.isa, walk, blocks, rows);
            }
            Layer::Int8 { keys, values, key_factors, value_factors } => {
                let blocks = Expanded { keys, values, key_factors, value_factors, sides };
                in_pairs(attend.isa, walk, blocks, rows);
            }
        }
    }
}

pub(super) struct Walk<'a> {
    pub(super) attend: &'a Attend<'a>,
    group: &'a Group,
    head: usize,
    positions: Range<usize>,
    stretch: usize,
    pub(super) sides: Sides,
    products: Products,
}

/// What products are made with. The same for every batch: it depends on the cache alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Products {
    Lanes,
    #[cfg(target_arch = "x86_64")]
    Tiles,
}

/// # Safety
/// As for [`walk`].
unsafe fn in_pairs(isa: Isa, walk: Walk<'_>, blocks: impl Blocks<Number = bf16>, rows: &mut Rows) {
    // SAFETY: the caller's promise.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx if tile::fits(walk.attend.cache.shape) => {
                tile::begin();
                dotted(Walk { products: Products::Tiles, ..walk }, blocks, rows);
                tile::end();
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512Bf16 => dotted(walk, blocks, rows),
            _ => on(isa, Paired { walk, blocks, rows }),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma,f16c")]
unsafe fn dotted(walk: Walk<'_>, blocks: impl Blocks<Number = bf16>, rows: &mut Rows) {
    // 6 × 4 sums and 4 stored numbers of 32 registers.
    // SAFETY: the caller's promise.
    unsafe { run::<Avx512, PairsDotted, 6>(&walk, &blocks, rows) }
}

struct Paired<'a, B> {
    walk: Walk<'a>,
    blocks: B,
    rows: &'a mut Rows,
}

impl<B: Blocks<Number = bf16>> Vectors for Paired<'_, B> {
    type Outcome = ();

    #[inline(always)]
    unsafe fn with<L: Lanes>(self) {
        // SAFETY: the caller's promise.
        unsafe { run::<L, PairsRounded, 2>(&self.walk, &self.blocks, self.rows) }
    }
}

struct Widened<'a> {
    walk: Walk<'a>,
    blocks: AsTheyAre<'a, f32>,
    rows: &'a mut Rows,
}

impl Vectors for Widened<'_> {
    type Outcome = ();

    #[inline(always)]
    unsafe fn with<L: Lanes>(self) {
        // SAFETY: the caller's promise.
        unsafe { run::<L, Wide<f32>, 2>(&self.walk, &self.blocks, self.rows) }
    }
}

/// A stretch at work.
pub(super) struct Stretch<'a, M: crate::meeting::Meeting> {
    pub(super) walk: &'a Walk<'a>,
    pub(super) blocks: Vec<Block<'a, M::Weight>>,
    /// The position of the first token.
    start: usize,
    /// Places for scores in a row: whole registers of each block.
    pub(super) columns: usize,
}

#[inline(always)]
unsafe fn run<L: Lanes, M: MeetingIn<L>, const ROWS: usize>(
    walk: &Walk<'_>,
    source: &impl Blocks<Number = M::Weight>,
    rows: &mut Rows,
) where
    M::Factor: Factor,
{
    let shape = walk.attend.cache.shape;
    let block_tokens = shape.block_tokens;
    let in_stretch = walk.stretch / block_tokens;
    let count = rows.greatest.len();
    let table = walk.attend.step.table(&walk.attend.step.batch.sequences()[walk.group.sequence]);
    let queries = queries::<M::Factor>(walk, count);
    let query_len = shape.heads.dim.next_multiple_of(2);
    let most = in_stretch * walk.sides.tokens;
    // Whole tiles of rows, here as in queries.
    let places = count.next_multiple_of(WIDTH) * most;
    let mut scores = vec![0.0f32; places];
    let mut shares = vec![M::Factor::ZERO; places];
    let mut room = source.room(in_stretch);
    let one = room.len() / in_stretch;
    for start in walk.positions.clone().step_by(walk.stretch) {
        let end = walk.positions.end.min(start + walk.stretch);
        let used = &table[start / block_tokens..=(end - 1) / block_tokens];
        let mut rooms = room.chunks_mut(one.max(1));
        let blocks = used.iter().map(|block| {
            let place = *block as usize * shape.heads.kv + walk.head;
            source.block(place, rooms.next().unwrap_or_default())
        });
        let stretch = Stretch::<M> { walk, blocks: blocks.collect(), start, columns: used.len() * walk.sides.tokens };
        // SAFETY: scores and shares have room for `columns` in each row; the rest is the caller's promise.
        unsafe {
            match walk.products {
                Products::Lanes => stretch.score::<L, ROWS>((&queries, query_len), &mut scores, count),
                #[cfg(target_arch = "x86_64")]
                Products::Tiles => stretch.score_tiles(&queries, &mut scores, count),
            }
            for row in 0..count {
                let at = row * stretch.columns;
                let (scores, shares) = (&mut scores[at..][..stretch.columns], &mut shares[at..][..stretch.columns]);
                stretch.softmax::<L>(row, scores, shares, rows);
            }
            match walk.products {
                Products::Lanes => stretch.gather::<L, ROWS>(&shares, end, rows),
                #[cfg(target_arch = "x86_64")]
                Products::Tiles => stretch.gather_tiles(&shares, rows),
            }
        }
    }
}

/// The group's queries of one key head, row by row, filled up to whole pairs.
fn queries<F: Factor>(walk: &Walk<'_>, rows: usize) -> Vec<F> {
    let heads = walk.attend.cache.shape.heads;
    let (members, len) = (heads.query / heads.kv, heads.dim.next_multiple_of(2));
    let mut queries = vec![F::ZERO; rows.next_multiple_of(WIDTH) * len];
    for (row, to) in queries.chunks_exact_mut(len).enumerate().take(rows) {
        let (token, member) = (walk.group.tokens.start + row / members, row % members);
        let from = token * heads.qkv_columns() + (walk.head * members + member) * heads.dim;
        let from = &walk.attend.qkv[from..from + heads.dim];
        to.iter_mut().zip(from).for_each(|(to, from)| *to = F::of(*from));
    }
    queries
}

impl<M: crate::meeting::Meeting> Stretch<'_, M>
where
    M::Factor: Factor,
{
    /// Every row's products with every key.
    #[inline(always)]
    unsafe fn score<L: Lanes, const ROWS: usize>(
        &self,
        (queries, query_len): (&[M::Factor], usize),
        scores: &mut [f32],
        count: usize,
    ) where
        M: MeetingIn<L>,
    {
        let tokens = self.walk.sides.tokens;
        let steps = self.walk.attend.cache.shape.heads.dim.div_ceil(M::STEP);
        let registers = self.columns / WIDTH;
        // The keys of sixteen tokens.
        let keys = |register: usize| {
            let (block, within) = (register * WIDTH / tokens, register * WIDTH % tokens);
            // SAFETY: inside the block.
            unsafe { self.blocks[block].keys.add(within * M::STEP) }
        };
        let mut register = 0;
        while register < registers {
            let wide = registers - register >= 4;
            let mut row = 0;
            // SAFETY: rows and registers are inside queries, keys and scores.
            unsafe {
                while row < count {
                    let queries = queries.as_ptr().add(row * query_len);
                    let to = scores.as_mut_ptr().add(row * self.columns + register * WIDTH);
                    let many = count - row >= ROWS;
                    match (many, wide) {
                        (true, true) => {
                            let keys = std::array::from_fn(|c| keys(register + c));
                            self.score_rows::<L, ROWS, 4>((queries, query_len), keys, to, steps);
                        }
                        (true, false) => {
                            self.score_rows::<L, ROWS, 1>((queries, query_len), [keys(register)], to, steps);
                        }
                        (false, true) => {
                            let keys = std::array::from_fn(|c| keys(register + c));
                            self.score_rows::<L, 1, 4>((queries, query_len), keys, to, steps);
                        }
                        (false, false) => {
                            self.score_rows::<L, 1, 1>((queries, query_len), [keys(register)], to, steps);
                        }
                    }
                    row += if many { ROWS } else { 1 };
                }
            }
            register += if wide { 4 } else { 1 };
        }
    }

    #[inline(always)]
    unsafe fn score_rows<L: Lanes, const ROWS: usize, const COLUMNS: usize>(
        &self,
        queries: (*const M::Factor, usize),
        keys: [*const M::Weight; COLUMNS],
        to: *mut f32,
        steps: usize,
    ) where
        M: MeetingIn<L>,
    {
        // SAFETY: the caller's promise.
        unsafe {
            let zeros = [[L::splat(0.0); COLUMNS]; ROWS];
            let stride = self.walk.sides.tokens * M::STEP;
            let sums = meet::<L, M, ROWS, COLUMNS>(zeros, queries, (keys, stride), steps);
            for (r, sums) in sums.iter().enumerate() {
                for (c, sum) in sums.iter().enumerate() {
                    sum.store(to.add(r * self.columns + c * WIDTH));
                }
            }
        }
    }

    /// Turns a row's scores into shares of its total so far, and scales what was summed before.
    #[inline(always)]
    unsafe fn softmax<L: Lanes>(&self, row: usize, scores: &mut [f32], shares: &mut [M::Factor], rows: &mut Rows) {
        let attention = self.walk.attend.attention;
        let heads = self.walk.attend.cache.shape.heads;
        let position = self.walk.group.position + row / (heads.query / heads.kv);
        // SAFETY: all have whole registers of places.
        unsafe {
            let mut lanes = L::splat(f32::NEG_INFINITY);
            self.scale::<L>(scores, attention.scale, attention.soft_cap);
            self.hide(scores, position);
            for at in (0..scores.len()).step_by(WIDTH) {
                lanes = lanes.max(L::load(scores.as_ptr().add(at)));
            }
            let highest = lanes.greatest();
            let before = rows.greatest[row];
            let greatest = if before > highest { before } else { highest };
            if greatest == f32::NEG_INFINITY {
                shares.fill(M::Factor::ZERO);
                return;
            }
            if before != greatest && before != f32::NEG_INFINITY {
                let keep = (before - greatest).exp();
                rows.total[row] *= keep;
                rows.sums[row * rows.dim..][..rows.dim].iter_mut().for_each(|sum| *sum *= keep);
            }
            rows.greatest[row] = greatest;
            let mut total = L::splat(0.0);
            let less = L::splat(-greatest);
            for at in (0..scores.len()).step_by(WIDTH) {
                let share = L::load(scores.as_ptr().add(at)).add(less).exp();
                total = total.add(share);
                let share = match self.blocks[at / self.walk.sides.tokens].factors {
                    None => share,
                    Some((_, factors)) => share.mul(L::load(factors.as_ptr().add(at % self.walk.sides.tokens))),
                };
                M::Factor::store(share, shares.as_mut_ptr().add(at));
            }
            rows.total[row] += total.sum();
        }
    }

    /// Makes scores of products.
    #[inline(always)]
    unsafe fn scale<L: Lanes>(&self, scores: &mut [f32], scale: f32, soft_cap: Option<f32>) {
        let tokens = self.walk.sides.tokens;
        for at in (0..scores.len()).step_by(WIDTH) {
            // SAFETY: whole registers of places.
            unsafe {
                let to = scores.as_mut_ptr().add(at);
                let mut score = L::load(to).mul(L::splat(scale));
                if let Some((factors, _)) = self.blocks[at / tokens].factors {
                    score = score.mul(L::load(factors.as_ptr().add(at % tokens)));
                }
                if let Some(cap) = soft_cap {
                    score = L::splat(cap).mul(tanh(score.mul(L::splat(1.0 / cap))));
                }
                score.store(to);
            }
        }
    }

    /// Takes out what a token at this position must not see, and places that hold no token.
    #[inline(always)]
    fn hide(&self, scores: &mut [f32], position: usize) {
        let block_tokens = self.walk.attend.cache.shape.block_tokens;
        let first = self.walk.attend.attention.window.map_or(0, |window| (position + 1).saturating_sub(window));
        let end = self.start + self.blocks.len() * block_tokens;
        let filled = block_tokens == self.walk.sides.tokens;
        if filled && end <= position + 1 && first <= self.start {
            return;
        }
        for (block, scores) in scores.chunks_exact_mut(self.walk.sides.tokens).enumerate() {
            let start = self.start + block * block_tokens;
            let before = first.saturating_sub(start).min(block_tokens);
            let seen = (position + 1).saturating_sub(start).min(block_tokens).max(before);
            scores[..before].fill(f32::NEG_INFINITY);
            scores[seen..].fill(f32::NEG_INFINITY);
        }
    }

    /// Adds the values up to position `end`, each by its share.
    #[inline(always)]
    unsafe fn gather<L: Lanes, const ROWS: usize>(&self, shares: &[M::Factor], end: usize, rows: &mut Rows)
    where
        M: MeetingIn<L>,
    {
        let (count, registers) = (rows.greatest.len(), rows.dim / WIDTH);
        let mut row = 0;
        // SAFETY: rows and registers are inside shares, values and sums.
        unsafe {
            while row < count {
                let many = count - row >= ROWS;
                let mut register = 0;
                while register < registers {
                    let wide = registers - register >= 4;
                    match (many, wide) {
                        (true, true) => self.gather_rows::<L, ROWS, 4>(shares, (row, register), end, rows),
                        (true, false) => self.gather_rows::<L, ROWS, 1>(shares, (row, register), end, rows),
                        (false, true) => self.gather_rows::<L, 1, 4>(shares, (row, register), end, rows),
                        (false, false) => self.gather_rows::<L, 1, 1>(shares, (row, register), end, rows),
                    }
                    register += if wide { 4 } else { 1 };
                }
                row += if many { ROWS } else { 1 };
            }
        }
    }

    #[inline(always)]
    unsafe fn gather_rows<L: Lanes, const ROWS: usize, const COLUMNS: usize>(
        &self,
        shares: &[M::Factor],
        (row, register): (usize, usize),
        end: usize,
        rows: &mut Rows,
    ) where
        M: MeetingIn<L>,
    {
        let block_tokens = self.walk.attend.cache.shape.block_tokens;
        let stride = rows.dim * M::STEP;
        // SAFETY: the caller's promise.
        unsafe {
            let to = rows.sums.as_mut_ptr().add(row * rows.dim + register * WIDTH);
            let mut sums = [[L::splat(0.0); COLUMNS]; ROWS];
            for (r, sums) in sums.iter_mut().enumerate() {
                for (c, sum) in sums.iter_mut().enumerate() {
                    *sum = L::load(to.add(r * rows.dim + c * WIDTH));
                }
            }
            for (index, block) in self.blocks.iter().enumerate() {
                let tokens = block_tokens.min(end - self.start - index * block_tokens);
                let shares = shares.as_ptr().add(row * self.columns + index * self.walk.sides.tokens);
                let values = std::array::from_fn(|c| block.values.add((register + c) * WIDTH * M::STEP));
                let steps = tokens.div_ceil(M::STEP);
                sums = meet::<L, M, ROWS, COLUMNS>(sums, (shares, self.columns), (values, stride), steps);
            }
            for (r, sums) in sums.iter().enumerate() {
                for (c, sum) in sums.iter().enumerate() {
                    sum.store(to.add(r * rows.dim + c * WIDTH));
                }
            }
        }
    }
}
