//! Sixteen numbers in an array, without particular instructions.

use half::{bf16, f16};

use super::{Lanes, WIDTH};

/// No particular instructions.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; WIDTH]);

impl Portable {
    #[inline(always)]
    fn with(mut self, other: Portable, both: impl Fn(f32, f32) -> f32) -> Portable {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a = both(*a, b));
        self
    }
}

impl Lanes for Portable {
    #[inline(always)]
    unsafe fn splat(number: f32) -> Portable {
        Portable([number; WIDTH])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Portable {
        // SAFETY: the trait's contract; an array of f32 needs no more alignment than an f32.
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
    unsafe fn load_pairs(from: *const bf16) -> (Portable, Portable) {
        // SAFETY: as above, for thirty-two.
        let pairs = unsafe { from.cast::<[[bf16; 2]; WIDTH]>().read() };
        (Portable(pairs.map(|pair| pair[0].to_f32())), Portable(pairs.map(|pair| pair[1].to_f32())))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; WIDTH]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16) {
        // SAFETY: as above.
        unsafe { to.cast::<[bf16; WIDTH]>().write(self.0.map(bf16::from_f32)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Portable) -> Portable {
        self.with(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn mul(self, other: Portable) -> Portable {
        self.with(other, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn div(self, other: Portable) -> Portable {
        self.with(other, |a, b| a / b)
    }

    #[inline(always)]
    unsafe fn add_product(mut self, a: Portable, b: Portable) -> Portable {
        // Without the instruction, a fused multiply-add is a slow library call.
        for ((sum, a), b) in self.0.iter_mut().zip(a.0).zip(b.0) {
            *sum += a * b;
        }
        self
    }

    #[inline(always)]
    unsafe fn max(self, other: Portable) -> Portable {
        self.with(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn min(self, other: Portable) -> Portable {
        self.with(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    unsafe fn round(self) -> Portable {
        Portable(self.0.map(f32::round_ties_even))
    }

    #[inline(always)]
    unsafe fn power_of_two(self) -> Portable {
        Portable(self.0.map(|n| f32::from_bits(((n as i32).wrapping_add(127) as u32) << 23)))
    }

    #[inline(always)]
    unsafe fn zero_where_below(mut self, other: Portable, bound: Portable) -> Portable {
        for ((a, b), bound) in self.0.iter_mut().zip(other.0).zip(bound.0) {
            *a = if b < bound { 0.0 } else { *a };
        }
        self
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0.iter().sum()
    }

    #[inline(always)]
    unsafe fn greatest(self) -> f32 {
        self.0.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
}
