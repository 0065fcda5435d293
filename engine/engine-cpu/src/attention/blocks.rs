//! Where a stretch's keys and values come from, in a type that products take; and what meets them.

use half::bf16;

use super::of_block;
use crate::aligned::Plain;
use crate::cache::{KvType, Sides};
use crate::lanes::Lanes;

/// A head's part of a block.
pub(super) struct Block<'a, N> {
    pub(super) keys: *const N,
    pub(super) values: *const N,
    /// Factors of the keys and of the values, one for each token.
    pub(super) factors: Option<(&'a [f32], &'a [f32])>,
}

/// Where blocks come from.
pub(super) trait Blocks {
    type Number: Plain;

    /// Room that a stretch of so many blocks needs.
    fn room(&self, blocks: usize) -> Vec<Self::Number>;

    /// The part at a place: a block's number times heads, and the head. `room` is one block's.
    fn block<'a>(&'a self, place: usize, room: &'a mut [Self::Number]) -> Block<'a, Self::Number>;
}

/// In a type that products take.
pub(super) struct AsTheyAre<'a, N> {
    pub(super) keys: &'a [N],
    pub(super) values: &'a [N],
    pub(super) sides: Sides,
    pub(super) kv: KvType,
}

impl<N: Plain> Blocks for AsTheyAre<'_, N> {
    type Number = N;

    fn room(&self, _blocks: usize) -> Vec<N> {
        Vec::new()
    }

    fn block<'a>(&'a self, place: usize, _room: &'a mut [N]) -> Block<'a, N> {
        let keys = of_block(self.keys, place, self.sides.keys_len(self.kv)).as_ptr();
        Block { keys, values: of_block(self.values, place, self.sides.values_len(self.kv)).as_ptr(), factors: None }
    }
}

/// Whole numbers, which bf16 holds exactly.
pub(super) struct Expanded<'a> {
    pub(super) keys: &'a [i8],
    pub(super) values: &'a [i8],
    pub(super) key_factors: &'a [f32],
    pub(super) value_factors: &'a [f32],
    pub(super) sides: Sides,
}

impl Blocks for Expanded<'_> {
    type Number = bf16;

    fn room(&self, blocks: usize) -> Vec<bf16> {
        let one = self.sides.keys_len(KvType::Int8) + self.sides.values_len(KvType::Int8);
        vec![bf16::ZERO; blocks * one]
    }

    #[inline(always)]
    fn block<'a>(&'a self, place: usize, room: &'a mut [bf16]) -> Block<'a, bf16> {
        let (keys, values) = (self.sides.keys_len(KvType::Int8), self.sides.values_len(KvType::Int8));
        let (to_keys, to_values) = room.split_at_mut(keys);
        let expand = |from: &[i8], to: &mut [bf16]| {
            let widen = |number: i8| bf16::from_bits((f32::from(number).to_bits() >> 16) as u16);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = widen(*from));
        };
        expand(of_block(self.keys, place, keys), to_keys);
        expand(of_block(self.values, place, values), to_values);
        let tokens = self.sides.tokens;
        let factors = (of_block(self.key_factors, place, tokens), of_block(self.value_factors, place, tokens));
        Block { keys: to_keys.as_ptr(), values: to_values.as_ptr(), factors: Some(factors) }
    }
}

/// What queries and shares become before they meet keys and values.
pub(super) trait Factor: Plain {
    const ZERO: Self;

    fn of(number: f32) -> Self;

    /// # Safety
    /// As for [`Lanes`].
    unsafe fn store<L: Lanes>(lanes: L, to: *mut Self);
}

impl Factor for f32 {
    const ZERO: f32 = 0.0;

    fn of(number: f32) -> f32 {
        number
    }

    #[inline(always)]
    unsafe fn store<L: Lanes>(lanes: L, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { lanes.store(to) }
    }
}

impl Factor for bf16 {
    const ZERO: bf16 = bf16::ZERO;

    fn of(number: f32) -> bf16 {
        bf16::from_f32(number)
    }

    #[inline(always)]
    unsafe fn store<L: Lanes>(lanes: L, to: *mut bf16) {
        // SAFETY: the caller's promise.
        unsafe { lanes.store_bf16(to) }
    }
}
