//! What is left of a thread's share, and the job that all of them look at.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Job;

/// One thread's share of a job, and whether it sleeps. On cache lines of its own: they are written all the time.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(super) struct Lane {
    next: AtomicUsize,
    end: AtomicUsize,
    pub(super) parked: AtomicBool,
}

impl Lane {
    /// Before a job is opened, when nobody takes.
    pub(super) fn open(&self, share: Range<usize>) {
        self.next.store(share.start, Ordering::Relaxed);
        self.end.store(share.end, Ordering::Relaxed);
    }

    /// The next piece, if there is one.
    pub(super) fn take(&self, grain: usize) -> Option<Range<usize>> {
        let end = self.end.load(Ordering::Relaxed);
        // Looked at first, so that `next` grows past the end only once for each thread.
        if self.next.load(Ordering::Relaxed) >= end {
            return None;
        }
        let start = self.next.fetch_add(grain, Ordering::Relaxed);
        (start < end).then(|| start..end.min(start + grain))
    }
}

/// The job under way.
#[derive(Default)]
pub(super) struct JobSlot(UnsafeCell<Option<(*const Job<'static>, usize, usize)>>);

// SAFETY: written only while no thread is inside a job, and read only by those inside; `SharedState::state` orders the
// two.
unsafe impl Sync for JobSlot {}
// SAFETY: the pointer is to something that is Sync, and is followed only while its owner waits.
unsafe impl Send for JobSlot {}

impl std::fmt::Debug for JobSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JobSlot")
    }
}

impl JobSlot {
    /// # Safety
    /// Nobody is inside a job, and the caller keeps `job` until nobody is.
    pub(super) unsafe fn set(&self, job: &Job<'_>, grain: usize, count: usize) {
        // SAFETY: only the lifetime is lost; the caller keeps it.
        let job = unsafe { std::mem::transmute::<*const Job<'_>, *const Job<'static>>(job) };
        // SAFETY: nobody reads it now.
        unsafe { *self.0.get() = Some((job, grain, count)) };
    }

    /// # Safety
    /// The calling thread is inside a job.
    pub(super) unsafe fn get(&self) -> (&Job<'static>, usize, usize) {
        // SAFETY: set before the job was opened, and not written while this thread is inside.
        let (job, grain, count) = unsafe { (*self.0.get()).expect("set before a job is opened") };
        // SAFETY: its owner waits until this thread has left.
        (unsafe { &*job }, grain, count)
    }
}

/// Memory that several threads write, each its own part.
#[derive(Debug)]
pub(crate) struct Shared<T>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: it is only an address; whoever writes through it promises that no two threads write the same place.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn of(numbers: &mut [T]) -> Shared<T> {
        Shared(numbers.as_mut_ptr())
    }

    /// # Safety
    /// `index` must be inside the slice, which must still be alive and borrowed by nobody else.
    pub(crate) unsafe fn at(self, index: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(index) }
    }

    /// The same from `index` on.
    ///
    /// # Safety
    /// As for [`Shared::at`].
    pub(crate) unsafe fn from(self, index: usize) -> Shared<T> {
        // SAFETY: the caller's promise.
        Shared(unsafe { self.0.add(index) })
    }

    /// A part of it.
    ///
    /// # Safety
    /// As for [`Shared::at`], and no other thread looks at this part meanwhile.
    pub(crate) unsafe fn part<'a>(self, range: Range<usize>) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}
