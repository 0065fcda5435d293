//! By which instructions a product is walked over.

use std::ops::Range;

use half::bf16;

use super::walk::{Call, walk};
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512};
use crate::lanes::{Element, Portable};
#[cfg(target_arch = "x86_64")]
use crate::meeting::PairsDotted;
use crate::meeting::{Meeting, MeetingIn, PairsExact, PairsRounded, Wide};

/// A meeting that products are made of.
pub(super) trait Walked: Meeting {
    /// Covers tiles and all rows.
    ///
    /// # Safety
    /// As for [`walk`], and `isa` was detected.
    unsafe fn walk(isa: Isa, call: &Call<'_, Self::Weight, Self::Factor>, tiles: Range<usize>);
}

impl<E: Element> Walked for Wide<E> {
    unsafe fn walk(isa: Isa, call: &Call<'_, E, f32>, tiles: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe { by_isa::<Self>(isa, call, tiles) }
    }
}

impl Walked for PairsExact {
    unsafe fn walk(isa: Isa, call: &Call<'_, bf16, f32>, tiles: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe { by_isa::<Self>(isa, call, tiles) }
    }
}

impl Walked for PairsRounded {
    unsafe fn walk(isa: Isa, call: &Call<'_, bf16, bf16>, tiles: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Amx => super::tile::walk(call, tiles),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512Bf16 => avx512_bf16(call, tiles),
                _ => by_isa::<Self>(isa, call, tiles),
            }
        }
    }
}

/// # Safety
/// As for [`Walked::walk`].
#[cfg(target_arch = "x86_64")]
unsafe fn by_isa<M: MeetingIn<Avx512> + MeetingIn<Avx2> + MeetingIn<Portable>>(
    isa: Isa,
    call: &Call<'_, M::Weight, M::Factor>,
    tiles: Range<usize>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match isa {
            Isa::Amx | Isa::Avx512Bf16 | Isa::Avx512 => avx512::<M>(call, tiles),
            Isa::Avx2 => avx2::<M>(call, tiles),
            Isa::Portable => walk::<Portable, M, 1, 2>(call, tiles),
        }
    }
}

/// # Safety
/// As for [`Walked::walk`].
#[cfg(not(target_arch = "x86_64"))]
unsafe fn by_isa<M: MeetingIn<Portable>>(_: Isa, call: &Call<'_, M::Weight, M::Factor>, tiles: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { walk::<Portable, M, 1, 2>(call, tiles) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16,avx2,fma,f16c")]
unsafe fn avx512_bf16(call: &Call<'_, bf16, bf16>, tiles: Range<usize>) {
    // 6 × 4 sums and 4 weights, or 8 × 2 and 2, of 32 registers.
    // SAFETY: the caller's promise.
    unsafe { walk::<Avx512, PairsDotted, 6, 8>(call, tiles) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn avx512<M: MeetingIn<Avx512>>(call: &Call<'_, M::Weight, M::Factor>, tiles: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { walk::<Avx512, M, 4, 8>(call, tiles) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2<M: MeetingIn<Avx2>>(call: &Call<'_, M::Weight, M::Factor>, tiles: Range<usize>) {
    // A sum is two registers of 16.
    // SAFETY: the caller's promise.
    unsafe { walk::<Avx2, M, 1, 2>(call, tiles) }
}
