//! Sixteen f32 side by side, in one, two or no vector registers: what the kernels are written in.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use half::{bf16, f16};

use crate::isa::Isa;

pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// How many numbers go side by side, on every machine: the layouts of weights and caches depend on it.
pub(crate) const WIDTH: usize = 16;

/// Sixteen numbers.
///
/// # Safety
/// Implementations for real instructions may only be used where those exist, inside a function compiled for them.
/// Pointers must be valid for sixteen elements (thirty-two for pairs); they need no alignment beyond the element's own.
pub(crate) trait Lanes: Copy {
    unsafe fn splat(number: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_bf16(from: *const bf16) -> Self;
    unsafe fn load_f16(from: *const f16) -> Self;
    /// Sixteen pairs: the first of each, and the second.
    unsafe fn load_pairs(from: *const bf16) -> (Self, Self);
    unsafe fn store(self, to: *mut f32);
    /// Rounded to the nearest, ties to even; what is not a number stays so.
    unsafe fn store_bf16(self, to: *mut bf16);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self + a * b`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// The greater; `other` if that is not a number.
    unsafe fn max(self, other: Self) -> Self;
    /// The less; `other` if that is not a number.
    unsafe fn min(self, other: Self) -> Self;
    /// To the nearest whole number.
    unsafe fn round(self) -> Self;
    /// Two to these whole numbers, from -126 to 127.
    unsafe fn power_of_two(self) -> Self;
    /// Zero where `other` is below `bound`.
    unsafe fn zero_where_below(self, other: Self, bound: Self) -> Self;
    /// All sixteen, always in the same order.
    unsafe fn sum(self) -> f32;
    /// The greatest of the sixteen.
    unsafe fn greatest(self) -> f32;

    /// e to these, within a few units of the last place; zero below -87.
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        // Cephes' expf: x = n ln 2 + r, a polynomial in r, times a power of two.
        const LOWEST: f32 = -87.0;
        const HIGHEST: f32 = 88.0;
        const LN_2_HIGH: f32 = 0.693_359_4;
        const LN_2_LOW: f32 = -2.121_944_4e-4;
        const FACTORS: [f32; 5] = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 0.5];
        // SAFETY: the caller's promise.
        unsafe {
            let x = Self::splat(HIGHEST).min(Self::splat(LOWEST).max(self));
            let n = x.mul(Self::splat(std::f32::consts::LOG2_E)).round();
            let r = x.add_product(n, Self::splat(-LN_2_HIGH)).add_product(n, Self::splat(-LN_2_LOW));
            let mut sum = Self::splat(1.987_569_1e-4);
            for factor in FACTORS {
                sum = Self::splat(factor).add_product(sum, r);
            }
            let power = r.add_product(sum, r.mul(r)).add(Self::splat(1.0)).mul(n.power_of_two());
            power.zero_where_below(self, Self::splat(LOWEST))
        }
    }
}

/// A stored number that lanes can be loaded from.
pub(crate) trait Element: crate::aligned::Plain {
    /// # Safety
    /// As for [`Lanes`].
    unsafe fn load<L: Lanes>(from: *const Self) -> L;

    fn widen(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const f32) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load(from) }
    }

    fn widen(self) -> f32 {
        self
    }
}

impl Element for bf16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const bf16) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load_bf16(from) }
    }

    fn widen(self) -> f32 {
        self.to_f32()
    }
}

impl Element for f16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const f16) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load_f16(from) }
    }

    fn widen(self) -> f32 {
        self.to_f32()
    }
}

/// 1 - 2 / (e^2x + 1).
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn tanh<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        let power = x.add(x).exp().add(L::splat(1.0));
        L::splat(1.0).add(L::splat(-2.0).div(power))
    }
}

/// The first of a pair of bf16 that lie in one word, and the second.
#[inline(always)]
pub(crate) fn widen_pair(pair: u32) -> (f32, f32) {
    (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000))
}

/// Something to do with lanes.
pub(crate) trait Vectors {
    type Outcome;

    /// # Safety
    /// L's instructions exist.
    unsafe fn with<L: Lanes>(self) -> Self::Outcome;
}

/// Does it with the widest lanes of a set of instructions.
///
/// # Safety
/// `isa` was detected.
#[inline]
pub(crate) unsafe fn on<V: Vectors>(isa: Isa, work: V) -> V::Outcome {
    // SAFETY: the caller's promise.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512Bf16 | Isa::Avx512 => on_avx512(work),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => on_avx2(work),
            _ => work.with::<Portable>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn on_avx512<V: Vectors>(work: V) -> V::Outcome {
    // SAFETY: the caller's promise.
    unsafe { work.with::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn on_avx2<V: Vectors>(work: V) -> V::Outcome {
    // SAFETY: the caller's promise.
    unsafe { work.with::<Avx2>() }
}
