//! Memory for weights and caches: zeroed, on a cache line's border, in large pages where there is much of it.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use engine_backend::Error;
use half::{bf16, f16};

/// A vector register's load that crosses a cache line's border takes twice as long.
const LINE_BYTES: usize = 64;

/// A large page. From here on memory comes from the operating system, zeroed when it is first touched: by whichever
/// thread fills it, on that thread's own memory node.
const LARGE_BYTES: usize = 2 << 20;

/// Numbers for which all zeros are a valid zero.
///
/// # Safety
/// Every pattern of bits must be a value.
pub(crate) unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: numbers without forbidden patterns, here and below.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for f16 {}
// SAFETY: as above.
unsafe impl Plain for bf16 {}
// SAFETY: as above.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}

/// A slice that it owns.
#[derive(Debug)]
pub(crate) struct Aligned<T: Plain> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its memory, as a Vec does.
unsafe impl<T: Plain> Send for Aligned<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Aligned<T> {}

impl<T: Plain> Aligned<T> {
    /// `what` names it if there is no room.
    pub(crate) fn zeroed(len: usize, what: &'static str) -> Result<Aligned<T>, Error> {
        let bytes = len.saturating_mul(size_of::<T>());
        if len == 0 {
            return Ok(Aligned { start: NonNull::dangling(), len });
        }
        let layout = layout::<T>(len).ok_or(Error::OutOfMemory { what, bytes })?;
        let start = if from_system(bytes) {
            map(layout.size())
        } else {
            // SAFETY: the layout is not empty.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        };
        let start = start.ok_or(Error::OutOfMemory { what, bytes })?.cast();
        Ok(Aligned { start, len })
    }
}

impl<T: Plain> Drop for Aligned<T> {
    fn drop(&mut self) {
        let Some(layout) = layout::<T>(self.len).filter(|_| self.len > 0) else { return };
        let start = self.start.as_ptr().cast::<u8>();
        if from_system(self.len * size_of::<T>()) {
            unmap(start, layout.size());
        } else {
            // SAFETY: `zeroed` allocated it with this layout.
            unsafe { dealloc(start, layout) }
        }
    }
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` numbers were allocated, and zeros are numbers.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and it is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

fn layout<T>(len: usize) -> Option<Layout> {
    Layout::from_size_align(len.checked_mul(size_of::<T>())?, LINE_BYTES).ok()
}

const fn from_system(bytes: usize) -> bool {
    cfg!(all(target_os = "linux", not(miri))) && bytes >= LARGE_BYTES
}

#[cfg(all(target_os = "linux", not(miri)))]
fn map(bytes: usize) -> Option<NonNull<u8>> {
    let (protection, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping touches nothing that exists; advice changes no content, and may be refused.
    unsafe {
        let start = libc::mmap(std::ptr::null_mut(), bytes, protection, kind, -1, 0);
        if start == libc::MAP_FAILED {
            return None;
        }
        libc::madvise(start, bytes, libc::MADV_HUGEPAGE);
        NonNull::new(start.cast())
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
fn unmap(start: *mut u8, bytes: usize) {
    // SAFETY: `map` made this mapping, and nothing borrows it any more.
    unsafe { libc::munmap(start.cast(), bytes) };
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn map(_bytes: usize) -> Option<NonNull<u8>> {
    None
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn unmap(_start: *mut u8, _bytes: usize) {}
