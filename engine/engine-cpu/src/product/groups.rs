//! Products of weights in groups with activations rounded to eight bits, group by group.
//!
//! Inside a group sums are whole numbers, so they are exact whatever the instructions; between groups they are added
//! in order. That is what makes a row's result independent of its batch.

use std::ops::Range;

use half::f16;

use super::finish::finish_row;
#[cfg(target_arch = "x86_64")]
use super::tile_groups;
use super::walk::{Call, PANEL_TILES};
use crate::aligned::Aligned;
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512};
use crate::lanes::{Lanes, Portable, Vectors, WIDTH, on};
use crate::matrix::{GROUP, Groups, QUAD, Width, Zero};
use crate::threads::{Shared, Threads};

const QUADS: usize = GROUP / QUAD;

/// Activations, rounded in groups as the weights are.
#[derive(Debug, Default)]
pub(super) struct Rounded {
    /// Row by row.
    numbers: Vec<i8>,
    /// What gives them back, for each group of each row.
    factors: Vec<f32>,
    /// Sums of a group's numbers.
    sums: Vec<i32>,
}

impl Rounded {
    /// Rounds rows of so many columns, a multiple of a group.
    pub(super) fn fill(&mut self, isa: Isa, x: &[f32], columns: usize, threads: &Threads) {
        self.numbers.resize(x.len(), 0);
        self.factors.resize(x.len() / GROUP, 0.0);
        self.sums.resize(x.len() / GROUP, 0);
        let to = (Shared::of(&mut self.numbers), Shared::of(&mut self.factors), Shared::of(&mut self.sums));
        let groups = columns / GROUP;
        threads.split(x.len() / columns, (ROUND_NUMBERS / columns).max(1), |range| {
            let (numbers, places) =
                (range.start * columns..range.end * columns, range.start * groups..range.end * groups);
            // SAFETY: rows are items, so one thread's; `isa` was detected.
            unsafe {
                let (factors, sums) = (to.1.part(places.clone()), to.2.part(places));
                on(isa, Round { from: &x[numbers.clone()], to: to.0.part(numbers), factors, sums });
            }
        });
    }

    pub(super) fn numbers(&self) -> &[i8] {
        &self.numbers
    }

    /// A group's factor, and the sum of its numbers.
    ///
    /// # Safety
    /// There are so many groups.
    #[inline(always)]
    pub(super) unsafe fn factor(&self, group: usize) -> (f32, i32) {
        // SAFETY: the caller's promise.
        unsafe { (*self.factors.get_unchecked(group), *self.sums.get_unchecked(group)) }
    }
}

/// Numbers that one thread rounds at once.
const ROUND_NUMBERS: usize = 1 << 14;

/// Some groups, each with the factor that gives it back and the sum of its numbers.
struct Round<'a> {
    from: &'a [f32],
    to: &'a mut [i8],
    factors: &'a mut [f32],
    sums: &'a mut [i32],
}

impl Vectors for Round<'_> {
    type Outcome = ();

    #[inline(always)]
    unsafe fn with<L: Lanes>(self) {
        let groups = self.from.as_chunks::<GROUP>().0.iter().zip(self.to.as_chunks_mut::<GROUP>().0);
        for ((from, to), (factor, sum)) in groups.zip(self.factors.iter_mut().zip(self.sums)) {
            // SAFETY: a group is two registers; the caller has the instructions.
            unsafe {
                let (a, b) = (L::load(from.as_ptr()), L::load(from.as_ptr().add(WIDTH)));
                let (minus, zero) = (L::splat(-1.0), L::splat(0.0));
                let greatest = a.max(a.mul(minus)).max(b.max(b.mul(minus))).greatest();
                // Zero, unless there is something that is not a finite number: then the factor must not be one either.
                let none = a.mul(zero).add(b.mul(zero)).sum();
                let inverse = L::splat(if greatest > 0.0 { 127.0 / greatest } else { 0.0 });
                // Adding this makes the nearest whole number of what is small, in the lowest bits.
                let shift = L::splat(12_582_912.0);
                let mut shifted = [0.0f32; GROUP];
                shift.add_product(a, inverse).store(shifted.as_mut_ptr());
                shift.add_product(b, inverse).store(shifted.as_mut_ptr().add(WIDTH));
                to.iter_mut().zip(shifted).for_each(|(to, shifted)| *to = shifted.to_bits() as u8 as i8);
                *factor = greatest / 127.0 + none;
                *sum = to.iter().map(|number| i32::from(*number)).sum();
            }
        }
    }
}

/// The operands besides a [`Call`]'s.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub weights: &'a Groups,
    pub x: &'a Rounded,
    /// Of x.
    pub first_row: usize,
}

/// Covers tiles and all rows.
///
/// # Safety
/// As for [`super::walk::walk`], and `isa` was detected.
pub(super) unsafe fn walk(isa: Isa, call: &Call<'_, u8, i8>, operands: Operands<'_>, tiles: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx if call.rows >= tile_groups::ROWS => {
                let whole = call.rows / tile_groups::ROWS * tile_groups::ROWS;
                tile_groups::walk(call, operands, tiles.clone());
                let rest = Operands { first_row: operands.first_row + whole, ..operands };
                avx512_vnni(&call.rows_from(whole), rest, tiles);
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512Bf16 => avx512_vnni(call, operands, tiles),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx2 => avx2(call, operands, tiles),
            _ => panels::<Portable, Portable, 2, 1>(call, operands, tiles),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,f16c")]
unsafe fn avx512_vnni(call: &Call<'_, u8, i8>, operands: Operands<'_>, tiles: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { panels::<Avx512, x86::Vnni, 8, 2>(call, operands, tiles) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2(call: &Call<'_, u8, i8>, operands: Operands<'_>, tiles: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { panels::<Avx2, x86::Maddubs, 2, 1>(call, operands, tiles) }
}

/// How a group's whole numbers are summed, in registers that become `L`.
trait Whole<L: Lanes> {
    type Sum: Copy;
    /// Four columns of sixteen rows.
    type Quad: Copy;

    unsafe fn begin(sum: i32) -> Self::Sum;
    unsafe fn eight(from: *const u8) -> Self::Quad;
    /// The low halves and the high halves.
    unsafe fn four(from: *const u8) -> (Self::Quad, Self::Quad);
    /// Adds products with four activations.
    unsafe fn add(sum: Self::Sum, weights: Self::Quad, x: *const i8) -> Self::Sum;
    unsafe fn finish(sum: Self::Sum) -> L;
}

#[inline(always)]
unsafe fn panels<L: Lanes, W: Whole<L>, const ROWS: usize, const TILES: usize>(
    call: &Call<'_, u8, i8>,
    operands: Operands<'_>,
    tiles: Range<usize>,
) {
    let per = PANEL_TILES / call.finish.tiles_of(PANEL_TILES);
    let mut tile = tiles.start;
    while tile < tiles.end {
        // A gate needs its up beside it.
        let both = per == 2 || (TILES == 2 && tiles.end - tile >= 2);
        let mut row = 0;
        while row < call.rows {
            // SAFETY: the caller's promise; rows and tiles are inside the operands.
            unsafe {
                let left = call.rows - row;
                row += match (left >= ROWS, left >= 4 && ROWS > 4, both) {
                    (true, _, true) => by_width::<L, W, ROWS, 2>(call, operands, row, tile),
                    (true, _, false) => by_width::<L, W, ROWS, 1>(call, operands, row, tile),
                    (false, true, true) => by_width::<L, W, 4, 2>(call, operands, row, tile),
                    (false, true, false) => by_width::<L, W, 4, 1>(call, operands, row, tile),
                    (false, false, true) => by_width::<L, W, 1, 2>(call, operands, row, tile),
                    (false, false, false) => by_width::<L, W, 1, 1>(call, operands, row, tile),
                };
            }
        }
        tile += if both { 2 / per } else { 1 };
    }
}

#[inline(always)]
unsafe fn by_width<L: Lanes, W: Whole<L>, const ROWS: usize, const TILES: usize>(
    call: &Call<'_, u8, i8>,
    operands: Operands<'_>,
    row: usize,
    tile: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        match operands.weights.width {
            Width::Four => sums::<L, W, ROWS, TILES, true>(call, operands, row, tile),
            Width::Eight => sums::<L, W, ROWS, TILES, false>(call, operands, row, tile),
        }
    }
    ROWS
}

/// ROWS rows times TILES · 16 outputs.
#[inline(always)]
unsafe fn sums<L: Lanes, W: Whole<L>, const ROWS: usize, const TILES: usize, const FOUR: bool>(
    call: &Call<'_, u8, i8>,
    Operands { weights, x, first_row }: Operands<'_>,
    row: usize,
    tile: usize,
) {
    let groups = weights.count;
    let bytes = weights.width.group_bytes();
    let ids = call.tiles_at::<TILES>(tile);
    let x_row = first_row + row;
    let (zero, minima): (i32, Option<&Aligned<f16>>) = match &weights.zero {
        Zero::At(zero) => (-i32::from(*zero), None),
        Zero::Minima(minima) => (0, Some(minima)),
    };
    // SAFETY: rows, tiles and groups are inside the operands.
    unsafe {
        let mut sums = [[L::splat(0.0); TILES]; ROWS];
        for group in 0..groups {
            for t in 0..TILES {
                let place = ids[t] * groups + group;
                let numbers = weights.numbers.as_ptr().add(place * bytes);
                let scale = L::load_f16(weights.scales.as_ptr().add(place * WIDTH));
                let mut quads = [W::eight(numbers); QUADS];
                if FOUR {
                    for q in 0..QUADS / 2 {
                        (quads[q], quads[q + QUADS / 2]) = W::four(numbers.add(q * WIDTH * QUAD));
                    }
                } else {
                    for (q, quad) in quads.iter_mut().enumerate().skip(1) {
                        *quad = W::eight(numbers.add(q * WIDTH * QUAD));
                    }
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let at = (x_row + r) * groups + group;
                    let (factor, x_sum) = x.factor(at);
                    let x = x.numbers.as_ptr().add(at * GROUP);
                    let mut sum = W::begin(zero * x_sum);
                    for (q, quad) in quads.iter().enumerate() {
                        sum = W::add(sum, *quad, x.add(q * QUAD));
                    }
                    let factor_lanes = L::splat(factor);
                    sums[t] = sums[t].add_product(W::finish(sum), scale.mul(factor_lanes));
                    if let Some(minima) = minima {
                        let minimum = L::load_f16(minima.as_ptr().add(place * WIDTH));
                        sums[t] = sums[t].add_product(minimum, L::splat(factor * x_sum as f32));
                    }
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            finish_row(call, row + r, tile, sums);
        }
    }
}

/// Plain loops.
impl Whole<Portable> for Portable {
    type Sum = [i32; WIDTH];
    type Quad = [[u8; QUAD]; WIDTH];

    #[inline(always)]
    unsafe fn begin(sum: i32) -> [i32; WIDTH] {
        [sum; WIDTH]
    }

    #[inline(always)]
    unsafe fn eight(from: *const u8) -> Self::Quad {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<Self::Quad>().read() }
    }

    #[inline(always)]
    unsafe fn four(from: *const u8) -> (Self::Quad, Self::Quad) {
        // SAFETY: the caller's promise.
        let both = unsafe { from.cast::<Self::Quad>().read() };
        (both.map(|quad| quad.map(|byte| byte & 15)), both.map(|quad| quad.map(|byte| byte >> 4)))
    }

    #[inline(always)]
    unsafe fn add(mut sum: [i32; WIDTH], weights: Self::Quad, x: *const i8) -> [i32; WIDTH] {
        // SAFETY: the caller's promise.
        let x = unsafe { x.cast::<[i8; QUAD]>().read() };
        for (sum, weights) in sum.iter_mut().zip(weights) {
            *sum += weights.iter().zip(x).map(|(weight, x)| i32::from(*weight) * i32::from(x)).sum::<i32>();
        }
        sum
    }

    #[inline(always)]
    unsafe fn finish(sum: [i32; WIDTH]) -> Portable {
        let numbers = sum.map(|sum| sum as f32);
        // SAFETY: sixteen numbers.
        unsafe { Portable::load(numbers.as_ptr()) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! With the instructions made for it.

    use std::arch::x86_64::*;

    use super::Whole;
    use crate::lanes::{Avx2, Avx512};

    /// Four products a lane in one instruction.
    pub(super) struct Vnni;

    impl Whole<Avx512> for Vnni {
        type Sum = __m512i;
        type Quad = __m512i;

        #[inline(always)]
        unsafe fn begin(sum: i32) -> __m512i {
            // SAFETY: the caller has the instructions, here and below.
            unsafe { _mm512_set1_epi32(sum) }
        }

        #[inline(always)]
        unsafe fn eight(from: *const u8) -> __m512i {
            // SAFETY: as above.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }

        #[inline(always)]
        unsafe fn four(from: *const u8) -> (__m512i, __m512i) {
            // SAFETY: as above.
            unsafe {
                let (both, mask) = (_mm512_loadu_si512(from.cast()), _mm512_set1_epi8(15));
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), mask);
                (_mm512_and_si512(both, mask), high)
            }
        }

        #[inline(always)]
        unsafe fn add(sum: __m512i, weights: __m512i, x: *const i8) -> __m512i {
            // SAFETY: as above.
            unsafe { _mm512_dpbusd_epi32(sum, weights, _mm512_set1_epi32(x.cast::<i32>().read_unaligned())) }
        }

        #[inline(always)]
        unsafe fn finish(sum: __m512i) -> Avx512 {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_cvtepi32_ps(sum) })
        }
    }

    /// Two products, then their sums. Pairs are summed in sixteen bits, so weights of eight bits go in two halves of
    /// four: their sums stay below 2^15.
    pub(super) struct Maddubs;

    impl Whole<Avx2> for Maddubs {
        type Sum = (__m256i, __m256i);
        type Quad = (__m256i, __m256i);

        #[inline(always)]
        unsafe fn begin(sum: i32) -> Self::Sum {
            // SAFETY: as above.
            let sum = unsafe { _mm256_set1_epi32(sum) };
            (sum, sum)
        }

        #[inline(always)]
        unsafe fn eight(from: *const u8) -> Self::Quad {
            // SAFETY: as above.
            unsafe { (_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast())) }
        }

        #[inline(always)]
        unsafe fn four(from: *const u8) -> (Self::Quad, Self::Quad) {
            // SAFETY: as above.
            unsafe {
                let (a, b) = Self::eight(from);
                let mask = _mm256_set1_epi8(15);
                let low = (_mm256_and_si256(a, mask), _mm256_and_si256(b, mask));
                let high = (_mm256_srli_epi16::<4>(a), _mm256_srli_epi16::<4>(b));
                (low, (_mm256_and_si256(high.0, mask), _mm256_and_si256(high.1, mask)))
            }
        }

        #[inline(always)]
        unsafe fn add(sum: Self::Sum, weights: Self::Quad, x: *const i8) -> Self::Sum {
            // SAFETY: as above.
            unsafe {
                let x = _mm256_set1_epi32(x.cast::<i32>().read_unaligned());
                (add_half(sum.0, weights.0, x), add_half(sum.1, weights.1, x))
            }
        }

        #[inline(always)]
        unsafe fn finish(sum: Self::Sum) -> Avx2 {
            // SAFETY: as above.
            unsafe { Avx2(_mm256_cvtepi32_ps(sum.0), _mm256_cvtepi32_ps(sum.1)) }
        }
    }

    #[inline(always)]
    unsafe fn add_half(sum: __m256i, weights: __m256i, x: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let (mask, ones, sixteens) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1), _mm256_set1_epi16(16));
            let low = _mm256_maddubs_epi16(_mm256_and_si256(weights, mask), x);
            let high = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16::<4>(weights), mask), x);
            let sum = _mm256_add_epi32(sum, _mm256_madd_epi16(low, ones));
            _mm256_add_epi32(sum, _mm256_madd_epi16(high, sixteens))
        }
    }
}
