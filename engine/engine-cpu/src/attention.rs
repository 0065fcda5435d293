//! Causal attention over paged keys and values.
//!
//! Some neighbouring tokens of a sequence, with all query heads that share a key head, are the rows of two small
//! products: queries by keys, then shares by values, a stretch of the context at a time. Between the two the softmax
//! goes along ("online"): sums so far are scaled when a greater score turns up. A row goes through the same stretches
//! and sums whether its token comes in a prompt's chunk or alone, and what it must not see adds nothing.

mod blocks;
mod row;
mod stretch;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(target_arch = "x86_64")]
mod tiled;

use std::ops::Range;

use engine_backend::{Attention, Heads};

use crate::cache::Cache;
use crate::isa::Isa;
use crate::tensor::Step;
use crate::threads::{Shared, Threads};
use row::Rows;

/// Rows that one thread carries through the context at once.
const ROWS_MAX: usize = 64;
/// Tokens of context between two looks at the softmax, in whole blocks: at least so many, unless a block is larger.
const STRETCH_TOKENS: usize = 64;
/// Tokens of context, in whole stretches, that are summed by themselves: what threads share among them if there are
/// fewer rows than threads could use.
const PART_TOKENS: usize = 512;

/// What to attend with.
pub(crate) struct Attend<'a> {
    pub(crate) isa: Isa,
    pub(crate) step: &'a Step,
    /// Rows of query, key and value heads; keys and values are stored already.
    pub(crate) qkv: &'a [f32],
    pub(crate) cache: &'a Cache,
    pub(crate) attention: &'a Attention,
}

impl Attend<'_> {
    /// `out` = rows of query heads.
    pub(crate) fn run(&self, threads: &Threads, out: &mut [f32]) {
        let heads = self.cache.shape.heads;
        let tokens = self.step.places.len();
        assert_eq!(self.qkv.len(), tokens * heads.qkv_columns(), "one row per token");
        assert_eq!(out.len(), tokens * heads.query_columns(), "one row per token");
        let groups = self.groups(heads);
        let items = groups.len() * heads.kv;
        let parts = |group: &Group| self.parts(group.last_position());
        let most = groups.iter().map(parts).max().unwrap_or(1);
        let out = Shared::of(out);
        if most == 1 || items >= 2 * threads.count() {
            threads.split(items, 1, |range| {
                for item in range {
                    let (group, head) = (&groups[item / heads.kv], item % heads.kv);
                    let mut whole = Rows::new(self.rows(group), self.cache);
                    let mut part = Rows::new(self.rows(group), self.cache);
                    let first = self.first_part(group);
                    for index in first..parts(group) {
                        // SAFETY: `isa` was detected, and the step was checked against this cache.
                        unsafe { self.part(group, head, index, &mut part) };
                        whole.join(&part);
                    }
                    // SAFETY: an item's rows are its own.
                    unsafe { self.write(group, head, &whole, out) };
                }
            });
            return;
        }
        // Few rows and much context: threads take parts of it, and the sums are joined in order.
        let mut sums: Vec<Rows> = Vec::new();
        let places: Vec<(usize, usize)> =
            (0..items).flat_map(|item| (0..most).map(move |index| (item, index))).collect();
        sums.extend(places.iter().map(|(item, _)| Rows::new(self.rows(&groups[item / heads.kv]), self.cache)));
        let shared = Shared::of(&mut sums);
        threads.split(places.len(), 1, |range| {
            for place in range {
                let (item, index) = places[place];
                let group = &groups[item / heads.kv];
                if (self.first_part(group)..parts(group)).contains(&index) {
                    // SAFETY: each place is one item, so one thread's; otherwise as above.
                    unsafe { self.part(group, item % heads.kv, index, &mut *shared.at(place)) };
                }
            }
        });
        for (item, sums) in sums.chunks_exact(most).enumerate() {
            let group = &groups[item / heads.kv];
            let mut whole = Rows::new(self.rows(group), self.cache);
            sums[self.first_part(group)..parts(group)].iter().for_each(|part| whole.join(part));
            // SAFETY: only this thread writes.
            unsafe { self.write(group, item % heads.kv, &whole, out) };
        }
    }

    /// Cuts the step's tokens into neighbours of one sequence.
    fn groups(&self, heads: Heads) -> Vec<Group> {
        let tokens_max = (ROWS_MAX / (heads.query / heads.kv)).max(1);
        let sequences = self.step.batch.sequences().iter().enumerate();
        let groups = sequences.flat_map(|(sequence, share)| {
            share.tokens.clone().step_by(tokens_max).map(move |first| Group {
                sequence,
                tokens: first..share.tokens.end.min(first + tokens_max),
                position: share.position as usize + first - share.tokens.start,
            })
        });
        groups.collect()
    }

    fn rows(&self, group: &Group) -> usize {
        let heads = self.cache.shape.heads;
        group.tokens.len() * (heads.query / heads.kv)
    }

    /// Tokens of a stretch, in whole blocks.
    fn stretch_tokens(&self) -> usize {
        let block = self.cache.shape.block_tokens;
        block * (STRETCH_TOKENS / block).max(1)
    }

    fn part_tokens(&self) -> usize {
        let stretch = self.stretch_tokens();
        stretch * (PART_TOKENS / stretch).max(1)
    }

    /// Parts of the context up to a position.
    fn parts(&self, position: usize) -> usize {
        position / self.part_tokens() + 1
    }

    /// The first position that any of a group's tokens sees.
    fn first_seen(&self, group: &Group) -> usize {
        self.attention.window.map_or(0, |window| (group.position + 1).saturating_sub(window))
    }

    fn first_part(&self, group: &Group) -> usize {
        self.first_seen(group) / self.part_tokens()
    }

    /// Sums one part of a group's context.
    ///
    /// # Safety
    /// `isa` was detected, and the step was checked against the cache.
    unsafe fn part(&self, group: &Group, head: usize, index: usize, rows: &mut Rows) {
        rows.clear();
        let part = self.part_tokens();
        let end = (group.last_position() + 1).min((index + 1) * part);
        let stretch = self.stretch_tokens();
        let first = (self.first_seen(group) / stretch * stretch).max(index * part);
        // SAFETY: the caller's promise.
        unsafe { stretch::walk(self, group, head, (first..end, stretch), rows) }
    }

    /// # Safety
    /// Nobody else writes these rows.
    unsafe fn write(&self, group: &Group, head: usize, rows: &Rows, out: Shared<f32>) {
        let Heads { query, kv, dim } = self.cache.shape.heads;
        let members = query / kv;
        for (row, sums) in rows.finished().enumerate() {
            let (token, member) = (group.tokens.start + row / members, row % members);
            let to = (token * query + head * members + member) * dim;
            // SAFETY: inside `out`, whose size was checked.
            unsafe { out.part(to..to + dim) }.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum);
        }
    }
}

/// Neighbouring tokens of one sequence.
struct Group {
    sequence: usize,
    /// In the batch.
    tokens: Range<usize>,
    /// Of the first of them.
    position: usize,
}

impl Group {
    fn last_position(&self) -> usize {
        self.position + self.tokens.len() - 1
    }
}

/// A place's part of a layer's numbers.
fn of_block<T>(numbers: &[T], place: usize, len: usize) -> &[T] {
    &numbers[place * len..(place + 1) * len]
}
