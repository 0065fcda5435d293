//! The same sixteen numbers in AVX registers.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::Lanes;

/// One register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(pub(crate) __m512);

impl Avx512 {
    /// Whole numbers, made f32.
    ///
    /// # Safety
    /// As for [`Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn load_whole(from: *const i32) -> Avx512 {
        // SAFETY: the caller's promise.
        Avx512(unsafe { _mm512_cvtepi32_ps(_mm512_loadu_si512(from.cast())) })
    }
}

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

    #[inline(always)]
    unsafe fn load_pairs(from: *const bf16) -> (Avx512, Avx512) {
        // SAFETY: the trait's contract.
        unsafe {
            let pairs = _mm512_loadu_si512(from.cast());
            let second = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
            let first = _mm512_slli_epi32::<16>(pairs);
            (Avx512(_mm512_castsi512_ps(first)), Avx512(_mm512_castsi512_ps(second)))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16) {
        // SAFETY: the trait's contract.
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
            let not_numbers = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            let rounded = _mm512_mask_mov_epi32(rounded, not_numbers, quiet);
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded)));
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Avx512) -> Avx512 {
        // SAFETY: the trait's contract.
        Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Avx512) -> Avx512 {
        // SAFETY: the trait's contract.
        Avx512(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Avx512) -> Avx512 {
        // SAFETY: the trait's contract.
        Avx512(unsafe { _mm512_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Avx512) -> Avx512 {
        // SAFETY: the trait's contract.
        Avx512(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn min(self, other: Avx512) -> Avx512 {
        // SAFETY: the trait's contract.
        Avx512(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn round(self) -> Avx512 {
        // SAFETY: the trait's contract.
        Avx512(unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) })
    }

    #[inline(always)]
    unsafe fn power_of_two(self) -> Avx512 {
        // SAFETY: the trait's contract.
        Avx512(unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), self.0) })
    }

    #[inline(always)]
    unsafe fn zero_where_below(self, other: Avx512, bound: Avx512) -> Avx512 {
        // SAFETY: the trait's contract.
        Avx512(unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(other.0, bound.0), self.0) })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_reduce_add_ps(self.0) }
    }

    #[inline(always)]
    unsafe fn greatest(self) -> f32 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
}

/// Two registers.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(pub(crate) __m256, pub(crate) __m256);

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

    #[inline(always)]
    unsafe fn load_pairs(from: *const bf16) -> (Avx2, Avx2) {
        // SAFETY: the trait's contract.
        unsafe {
            let low = _mm256_loadu_si256(from.cast());
            let high = _mm256_loadu_si256(from.add(16).cast());
            let first = |pairs| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs));
            let mask = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
            let second = |pairs| _mm256_castsi256_ps(_mm256_and_si256(pairs, mask));
            (Avx2(first(low), first(high)), Avx2(second(low), second(high)))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16) {
        // SAFETY: the trait's contract.
        unsafe {
            let round = |numbers: __m256| {
                let bits = _mm256_castps_si256(numbers);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
                let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
                let not_numbers = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(numbers, numbers));
                _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, not_numbers))
            };
            // Packing works in halves of a register, so the quarters are put back in order.
            let packed = _mm256_packus_epi32(round(self.0), round(self.1));
            _mm256_storeu_si256(to.cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(packed));
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Avx2) -> Avx2 {
        // SAFETY: the trait's contract.
        unsafe { Avx2(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Avx2) -> Avx2 {
        // SAFETY: the trait's contract.
        unsafe { Avx2(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
    }

    #[inline(always)]
    unsafe fn div(self, other: Avx2) -> Avx2 {
        // SAFETY: the trait's contract.
        unsafe { Avx2(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1)) }
    }

    #[inline(always)]
    unsafe fn max(self, other: Avx2) -> Avx2 {
        // SAFETY: the trait's contract.
        unsafe { Avx2(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1)) }
    }

    #[inline(always)]
    unsafe fn min(self, other: Avx2) -> Avx2 {
        // SAFETY: the trait's contract.
        unsafe { Avx2(_mm256_min_ps(self.0, other.0), _mm256_min_ps(self.1, other.1)) }
    }

    #[inline(always)]
    unsafe fn round(self) -> Avx2 {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: the trait's contract.
        unsafe { Avx2(_mm256_round_ps::<NEAREST>(self.0), _mm256_round_ps::<NEAREST>(self.1)) }
    }

    #[inline(always)]
    unsafe fn power_of_two(self) -> Avx2 {
        // SAFETY: the trait's contract.
        unsafe {
            let power = |n: __m256| {
                let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
            };
            Avx2(power(self.0), power(self.1))
        }
    }

    #[inline(always)]
    unsafe fn zero_where_below(self, other: Avx2, bound: Avx2) -> Avx2 {
        // SAFETY: the trait's contract.
        unsafe {
            let low = _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(other.0, bound.0), self.0);
            Avx2(low, _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(other.1, bound.1), self.1))
        }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the trait's contract.
        unsafe { array(_mm256_add_ps(self.0, self.1)).iter().sum() }
    }

    #[inline(always)]
    unsafe fn greatest(self) -> f32 {
        // SAFETY: the trait's contract.
        unsafe { array(_mm256_max_ps(self.0, self.1)) }.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

#[inline(always)]
unsafe fn array(register: __m256) -> [f32; 8] {
    // SAFETY: eight numbers, whatever they are called; the caller has the instructions.
    unsafe { std::mem::transmute(register) }
}
