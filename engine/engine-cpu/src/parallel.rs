//! When to use more than one thread: a job is cut only if each piece is worth more than waking a thread.

use std::ops::Range;

use rayon::prelude::*;

/// Multiplications worth a thread: about 50 µs of work, against about 10 µs to hand it over.
const PIECE_WORK_MIN: usize = 1 << 20;

/// Runs `job` over `0..items`, in pieces on several threads if `work` (multiplications in all) makes it worth it.
pub(crate) fn split(items: usize, work: usize, job: impl Fn(Range<usize>) + Sync) {
    let pieces = (work / PIECE_WORK_MIN).min(rayon::current_num_threads()).min(items);
    if pieces <= 1 {
        return job(0..items);
    }
    (0..pieces).into_par_iter().for_each(|piece| job(items * piece / pieces..items * (piece + 1) / pieces));
}

/// Runs `job` for every row of `out`, with the row's number.
pub(crate) fn rows(out: &mut [f32], columns: usize, work: usize, job: impl Fn(usize, &mut [f32]) + Sync) {
    let pieces = (work / PIECE_WORK_MIN).min(rayon::current_num_threads());
    if pieces <= 1 {
        return out.chunks_exact_mut(columns).enumerate().for_each(|(row, out)| job(row, out));
    }
    out.par_chunks_exact_mut(columns).enumerate().for_each(|(row, out)| job(row, out));
}

/// Memory that several threads write, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: it is only an address; whoever writes through it promises that no two threads write the same place.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn of(numbers: &mut [f32]) -> Shared {
        Shared(numbers.as_mut_ptr())
    }

    /// # Safety
    /// `index` must be inside the slice, which must still be alive and borrowed by nobody else.
    pub(crate) unsafe fn at(self, index: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(index) }
    }
}
