//! Sixteen f32 side by side, in one, two or no vector registers: what the kernels are written in.

use half::{bf16, f16};

/// How many numbers go side by side, on every machine: the layouts of weights and caches depend on it.
pub(crate) const WIDTH: usize = 16;

/// Sixteen numbers.
///
/// # Safety
/// Implementations for real instructions may only be used where those exist, inside a function compiled for them.
/// Pointers must be valid for sixteen elements; they need no alignment beyond the element's own.
pub(crate) trait Lanes: Copy {
    unsafe fn splat(number: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_bf16(from: *const bf16) -> Self;
    unsafe fn load_f16(from: *const f16) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self + a * b`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
}

/// A stored number that lanes can be loaded from.
pub(crate) trait Element: Copy + Send + Sync + 'static {
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

/// No particular instructions.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; WIDTH]);

impl Lanes for Portable {
    #[inline(always)]
    unsafe fn splat(number: f32) -> Portable {
        Portable([number; WIDTH])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Portable {
        // SAFETY: the caller's promise; an array of f32 needs no more alignment than an f32.
        Portable(unsafe { from.cast::<[f32; WIDTH]>().read() })
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Portable {
        // SAFETY: as above.
        Portable(unsafe { from.cast::<[bf16; WIDTH]>().read() }.map(bf16::to_f32))
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Portable {
        // SAFETY: as above.
        Portable(unsafe { from.cast::<[f16; WIDTH]>().read() }.map(f16::to_f32))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; WIDTH]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn add_product(mut self, a: Portable, b: Portable) -> Portable {
        // Without the instruction, a fused multiply-add is a slow library call.
        for ((sum, a), b) in self.0.iter_mut().zip(a.0).zip(b.0) {
            *sum += a * b;
        }
        self
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The same sixteen numbers in AVX registers.

    use std::arch::x86_64::*;

    use half::{bf16, f16};

    use super::Lanes;

    /// One register.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    impl Lanes for Avx512 {
        #[inline(always)]
        unsafe fn splat(number: f32) -> Avx512 {
            // SAFETY: the trait's contract, here and below.
            Avx512(unsafe { _mm512_set1_ps(number) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Avx512 {
            // SAFETY: the trait's contract.
            Avx512(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const bf16) -> Avx512 {
            // SAFETY: the trait's contract.
            unsafe {
                let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
                Avx512(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves)))
            }
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const f16) -> Avx512 {
            // SAFETY: the trait's contract.
            Avx512(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the trait's contract.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Avx512, b: Avx512) -> Avx512 {
            // SAFETY: the trait's contract.
            Avx512(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }
    }

    /// Two registers.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256, __m256);

    impl Lanes for Avx2 {
        #[inline(always)]
        unsafe fn splat(number: f32) -> Avx2 {
            // SAFETY: the trait's contract.
            let all = unsafe { _mm256_set1_ps(number) };
            Avx2(all, all)
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Avx2 {
            // SAFETY: the trait's contract.
            unsafe { Avx2(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const bf16) -> Avx2 {
            // SAFETY: the trait's contract.
            unsafe {
                let widen = |from: *const bf16| {
                    let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
                };
                Avx2(widen(from), widen(from.add(8)))
            }
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const f16) -> Avx2 {
            // SAFETY: the trait's contract.
            unsafe {
                let low = _mm256_cvtph_ps(_mm_loadu_si128(from.cast()));
                Avx2(low, _mm256_cvtph_ps(_mm_loadu_si128(from.add(8).cast())))
            }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the trait's contract.
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(8), self.1);
            }
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Avx2, b: Avx2) -> Avx2 {
            // SAFETY: the trait's contract.
            unsafe { Avx2(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
        }
    }
}
