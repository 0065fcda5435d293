//! Lends instances to calls: one each, no more than there may be, to each thread the one that it had last.

use std::{
    cell::Cell,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use crate::{Host, instance::Instance, slot::lock};

/// Threads that have a corner each; more share them.
const CORNERS_MAX: usize = 16;

/// The instances of one component.
pub(crate) struct Pool {
    /// Where threads leave their instance for their next call: its memory is in their core's cache, and a lock that one
    /// thread takes costs little.
    corners: Box<[Corner]>,
    /// Where all others are.
    shelf: Mutex<Shelf>,
    /// Calls that wait. Raised with the shelf locked; looked at after an instance was left in a corner.
    waiting: AtomicUsize,
    freed: Condvar,
    bounds: PoolBounds,
}

/// How much a pool lends, and how long.
#[derive(Clone, Copy)]
pub(crate) struct PoolBounds {
    pub(crate) instances_max: usize,
    /// Calls that wait.
    pub(crate) waiters_max: usize,
    /// How long each of them does.
    pub(crate) wait: Duration,
}

/// How full a component's pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instances {
    /// In a call, or being made for one.
    pub busy: usize,
    /// Ready for a call.
    pub idle: usize,
    /// The bound on both together.
    pub max: usize,
}

/// Alone on its cache lines (two, because processors fetch them in pairs).
#[derive(Default)]
#[repr(align(128))]
struct Corner(Mutex<Option<Box<Instance>>>);

#[derive(Default)]
#[expect(clippy::vec_box, reason = "an instance moves between corners and shelf as a pointer")]
struct Shelf {
    idle: Vec<Box<Instance>>,
    /// Idle, in corners too, lent, and being made.
    live: usize,
}

/// A place in the pool, taken for one call. Dropped without [`Loan::give_back`], its instance is gone and the place
/// free: after a trap, and after a panic.
pub(crate) struct Loan<'a> {
    pool: &'a Pool,
    instance: Option<Box<Instance>>,
    returned: bool,
}

impl Pool {
    pub(crate) fn new(bounds: PoolBounds) -> Pool {
        let bounds = PoolBounds { instances_max: bounds.instances_max.max(1), ..bounds };
        // One instance for all has nothing to choose from.
        let corners = if bounds.instances_max == 1 { 0 } else { bounds.instances_max.min(CORNERS_MAX) };
        let corners = (0..corners).map(|_| Corner::default()).collect();
        Pool { corners, shelf: Mutex::default(), waiting: AtomicUsize::new(0), freed: Condvar::new(), bounds }
    }

    /// How full it is.
    pub(crate) fn now(&self) -> Instances {
        let shelf = lock(&self.shelf);
        let in_corners = self.corners.iter().filter(|corner| lock(&corner.0).is_some()).count();
        // A thread may take one from its corner between the two counts.
        let idle = (shelf.idle.len() + in_corners).min(shelf.live);
        Instances { busy: shelf.live - idle, idle, max: self.bounds.instances_max }
    }

    /// Adds an instance that is ready.
    pub(crate) fn stock(&self, instance: Instance) {
        let mut shelf = lock(&self.shelf);
        shelf.live += 1;
        shelf.idle.push(Box::new(instance));
    }

    /// Takes a place, waiting a bounded time when all are taken; `None` when none came free.
    pub(crate) fn lend(&self, host: &dyn Host) -> Option<Loan<'_>> {
        if let Some(instance) = self.own_corner().and_then(Corner::try_take) {
            return Some(self.loan(Some(instance)));
        }
        let mut shelf = lock(&self.shelf);
        if let Some(loan) = self.take(&mut shelf) {
            return Some(loan);
        }
        if self.waiting.load(SeqCst) >= self.bounds.waiters_max {
            return None;
        }
        // Counted under the same lock, so that whoever frees a place from now on wakes this call.
        self.waiting.fetch_add(1, SeqCst);
        drop(shelf);
        let mut loan = None;
        let mut waited = false;
        host.wait(&mut || {
            waited = true;
            loan = self.wait_for_place();
            self.waiting.fetch_sub(1, SeqCst);
        });
        debug_assert!(waited, "a host runs what it is given");
        loan
    }

    /// An idle instance from anywhere, else a place for a new one.
    fn take(&self, shelf: &mut Shelf) -> Option<Loan<'_>> {
        let instance = shelf.idle.pop().or_else(|| self.corners.iter().find_map(Corner::take));
        if instance.is_none() {
            if shelf.live >= self.bounds.instances_max {
                return None;
            }
            shelf.live += 1;
        }
        Some(self.loan(instance))
    }

    fn loan(&self, instance: Option<Box<Instance>>) -> Loan<'_> {
        Loan { pool: self, instance, returned: false }
    }

    fn wait_for_place(&self) -> Option<Loan<'_>> {
        let mut loan = None;
        let nothing_free = |shelf: &mut Shelf| {
            loan = self.take(shelf);
            loan.is_none()
        };
        let waited = self.freed.wait_timeout_while(lock(&self.shelf), self.bounds.wait, nothing_free);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        loan
    }

    /// The corner of this thread.
    fn own_corner(&self) -> Option<&Corner> {
        self.corners.get(thread_number().checked_rem(self.corners.len())?)
    }

    /// Leaves it in this thread's corner, unless that is taken or calls wait; then it comes back.
    fn leave_in_corner(&self, instance: Box<Instance>) -> Option<Box<Instance>> {
        let Some(corner) = self.own_corner() else { return Some(instance) };
        if let Err(instance) = corner.try_leave(instance) {
            return Some(instance);
        }
        // A call that waits from now on looks into the corners first. One that did so before is seen here: it was counted
        // before it looked, and it looked before the instance was left.
        if self.waiting.load(SeqCst) > 0 { corner.take() } else { None }
    }

    /// A wake-up costs a system call, so only when someone waits.
    fn wake(&self, shelf: MutexGuard<'_, Shelf>) {
        drop(shelf);
        if self.waiting.load(SeqCst) > 0 {
            self.freed.notify_one();
        }
    }
}

impl Corner {
    fn take(&self) -> Option<Box<Instance>> {
        lock(&self.0).take()
    }

    fn try_take(&self) -> Option<Box<Instance>> {
        self.0.try_lock().ok()?.take()
    }

    fn try_leave(&self, instance: Box<Instance>) -> Result<(), Box<Instance>> {
        match self.0.try_lock() {
            Ok(mut corner) if corner.is_none() => {
                *corner = Some(instance);
                Ok(())
            }
            _ => Err(instance),
        }
    }
}

/// Threads are numbered in the order in which they first ask.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.with(|number| {
        number.get().unwrap_or_else(|| {
            let next = NEXT.fetch_add(1, Relaxed);
            number.set(Some(next));
            next
        })
    })
}

impl Loan<'_> {
    /// The place's instance, made now when the place is empty.
    pub(crate) fn instance<E>(&mut self, make: impl FnOnce() -> Result<Instance, E>) -> Result<&mut Instance, E> {
        if self.instance.is_none() {
            self.instance = Some(Box::new(make()?));
        }
        Ok(self.instance.as_mut().expect("it was there or has just been made"))
    }

    /// Gives the instance back for the next call.
    pub(crate) fn give_back(mut self) {
        let Some(instance) = self.instance.take() else { return };
        self.returned = true;
        let Some(instance) = self.pool.leave_in_corner(instance) else { return };
        let mut shelf = lock(&self.pool.shelf);
        shelf.idle.push(instance);
        self.pool.wake(shelf);
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if self.returned {
            return;
        }
        // Dropping an instance unmaps its memory: before the lock is taken.
        drop(self.instance.take());
        let mut shelf = lock(&self.pool.shelf);
        shelf.live -= 1;
        self.pool.wake(shelf);
    }
}
