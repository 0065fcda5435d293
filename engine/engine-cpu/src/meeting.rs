//! How stored numbers and activations meet: what one step of a sum takes of each, and by which instructions.

use std::marker::PhantomData;

use half::bf16;

use crate::aligned::Plain;
#[cfg(target_arch = "x86_64")]
use crate::lanes::Avx512;
use crate::lanes::{Element, Lanes, widen_pair};
use crate::matrix::PAIRED_COLUMNS;

/// A kind of stored numbers with a kind of activations.
pub(crate) trait Meeting {
    type Weight: Plain;
    type Factor: Plain;
    /// Columns that one step takes.
    const STEP: usize;

    /// Columns that a tile of weights has, zeros included.
    fn tile_columns(inner: usize) -> usize;
}

/// The same in certain registers.
pub(crate) trait MeetingIn<L: Lanes>: Meeting {
    type Loaded: Copy;

    /// One step's weights of sixteen outputs.
    ///
    /// # Safety
    /// As for [`Lanes`].
    unsafe fn load(from: *const Self::Weight) -> Self::Loaded;

    /// Adds one step's products of a row of activations.
    ///
    /// # Safety
    /// As for [`Lanes`]; `factors` is valid for a step.
    unsafe fn add(sum: L, factors: *const Self::Factor, weights: Self::Loaded) -> L;
}

/// Sums of ROWS rows and COLUMNS · 16 outputs over so many steps; `weights` go on by `stride` from step to step.
///
/// # Safety
/// As for [`MeetingIn::add`], for all of these rows, columns and steps.
#[inline(always)]
pub(crate) unsafe fn meet<L: Lanes, M: MeetingIn<L>, const ROWS: usize, const COLUMNS: usize>(
    mut sums: [[L; COLUMNS]; ROWS],
    (factors, factors_stride): (*const M::Factor, usize),
    (weights, stride): ([*const M::Weight; COLUMNS], usize),
    steps: usize,
) -> [[L; COLUMNS]; ROWS] {
    // SAFETY: the caller's promise.
    unsafe {
        for step in 0..steps {
            // Loops, here and in other kernels: a closure is a function of its own, without these instructions.
            let mut loaded = [M::load(weights[0].add(step * stride)); COLUMNS];
            for (loaded, weights) in loaded.iter_mut().zip(weights).skip(1) {
                *loaded = M::load(weights.add(step * stride));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let factors = factors.add(r * factors_stride + step * M::STEP);
                for (sum, loaded) in sums.iter_mut().zip(loaded) {
                    *sum = M::add(*sum, factors, loaded);
                }
            }
        }
    }
    sums
}

/// Weights one column after another, widened to f32.
pub(crate) struct Wide<E>(PhantomData<E>);

impl<E: Element> Meeting for Wide<E> {
    type Weight = E;
    type Factor = f32;
    const STEP: usize = 1;

    fn tile_columns(inner: usize) -> usize {
        inner
    }
}

impl<E: Element, L: Lanes> MeetingIn<L> for Wide<E> {
    type Loaded = L;

    #[inline(always)]
    unsafe fn load(from: *const E) -> L {
        // SAFETY: the caller's promise.
        unsafe { E::load(from) }
    }

    #[inline(always)]
    unsafe fn add(sum: L, factors: *const f32, weights: L) -> L {
        // SAFETY: the caller's promise.
        unsafe { sum.add_product(L::splat(*factors), weights) }
    }
}

/// Pairs of bf16, widened to f32, with activations as they are.
pub(crate) struct PairsExact;

impl Meeting for PairsExact {
    type Weight = bf16;
    type Factor = f32;
    const STEP: usize = 2;

    fn tile_columns(inner: usize) -> usize {
        inner.next_multiple_of(PAIRED_COLUMNS)
    }
}

impl<L: Lanes> MeetingIn<L> for PairsExact {
    type Loaded = (L, L);

    #[inline(always)]
    unsafe fn load(from: *const bf16) -> (L, L) {
        // SAFETY: the caller's promise.
        unsafe { L::load_pairs(from) }
    }

    #[inline(always)]
    unsafe fn add(sum: L, factors: *const f32, (first, second): (L, L)) -> L {
        // SAFETY: the caller's promise.
        unsafe { sum.add_product(L::splat(*factors), first).add_product(L::splat(*factors.add(1)), second) }
    }
}

/// Pairs of bf16 with pairs of activations rounded to bf16.
pub(crate) struct PairsRounded;

impl Meeting for PairsRounded {
    type Weight = bf16;
    type Factor = bf16;
    const STEP: usize = 2;

    fn tile_columns(inner: usize) -> usize {
        inner.next_multiple_of(PAIRED_COLUMNS)
    }
}

impl<L: Lanes> MeetingIn<L> for PairsRounded {
    type Loaded = (L, L);

    #[inline(always)]
    unsafe fn load(from: *const bf16) -> (L, L) {
        // SAFETY: the caller's promise.
        unsafe { L::load_pairs(from) }
    }

    #[inline(always)]
    unsafe fn add(sum: L, factors: *const bf16, (first, second): (L, L)) -> L {
        // SAFETY: the caller's promise.
        unsafe {
            let (a, b) = widen_pair(factors.cast::<u32>().read_unaligned());
            sum.add_product(L::splat(a), first).add_product(L::splat(b), second)
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use dotted::PairsDotted;

#[cfg(target_arch = "x86_64")]
mod dotted {
    //! The same by one instruction.

    use std::arch::x86_64::{__m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32};

    use super::{Avx512, Meeting, MeetingIn, PairsRounded, bf16};

    pub(crate) struct PairsDotted;

    impl Meeting for PairsDotted {
        type Weight = bf16;
        type Factor = bf16;
        const STEP: usize = PairsRounded::STEP;

        fn tile_columns(inner: usize) -> usize {
            PairsRounded::tile_columns(inner)
        }
    }

    impl MeetingIn<Avx512> for PairsDotted {
        type Loaded = __m512i;

        #[inline(always)]
        unsafe fn load(from: *const bf16) -> __m512i {
            // SAFETY: the caller's promise.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }

        #[inline(always)]
        unsafe fn add(sum: Avx512, factors: *const bf16, weights: __m512i) -> Avx512 {
            // SAFETY: the caller's promise; the two registers hold pairs of bf16, whatever they are called.
            unsafe {
                let factors = _mm512_set1_epi32(factors.cast::<i32>().read_unaligned());
                let factors = std::mem::transmute::<__m512i, __m512bh>(factors);
                let weights = std::mem::transmute::<__m512i, __m512bh>(weights);
                Avx512(_mm512_dpbf16_ps(sum.0, factors, weights))
            }
        }
    }
}
