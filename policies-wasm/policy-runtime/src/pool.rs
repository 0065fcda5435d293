//! Lends instances to calls: one each, the most recently used first, no more than there may be.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Host, instance::Instance, slot::lock};

/// The instances of one component.
pub(crate) struct Pool {
    shelf: Mutex<Shelf>,
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

#[derive(Default)]
struct Shelf {
    idle: Vec<Instance>,
    /// Idle, lent, and being made.
    live: usize,
    waiting: usize,
}

/// A place in the pool, taken for one call. Dropped without [`Loan::give_back`], its instance is gone and the place
/// free: after a trap, and after a panic.
pub(crate) struct Loan<'a> {
    pool: &'a Pool,
    instance: Option<Instance>,
    returned: bool,
}

impl Pool {
    pub(crate) fn new(bounds: PoolBounds) -> Pool {
        let bounds = PoolBounds { instances_max: bounds.instances_max.max(1), ..bounds };
        Pool { shelf: Mutex::default(), freed: Condvar::new(), bounds }
    }

    /// How full it is.
    pub(crate) fn now(&self) -> Instances {
        let shelf = lock(&self.shelf);
        Instances { busy: shelf.live - shelf.idle.len(), idle: shelf.idle.len(), max: self.bounds.instances_max }
    }

    /// Adds an instance that is ready.
    pub(crate) fn stock(&self, instance: Instance) {
        let mut shelf = lock(&self.shelf);
        shelf.live += 1;
        shelf.idle.push(instance);
    }

    /// Takes a place, waiting a bounded time when all are taken; `None` when none came free.
    pub(crate) fn lend(&self, host: &dyn Host) -> Option<Loan<'_>> {
        let mut shelf = lock(&self.shelf);
        if let Some(loan) = self.take(&mut shelf) {
            return Some(loan);
        }
        if shelf.waiting >= self.bounds.waiters_max {
            return None;
        }
        // Counted under the same lock, so that whoever frees a place from now on wakes this call.
        shelf.waiting += 1;
        drop(shelf);
        let mut loan = None;
        let mut waited = false;
        host.wait(&mut || {
            waited = true;
            let mut shelf = self.wait_for_place();
            loan = self.take(&mut shelf);
            shelf.waiting -= 1;
        });
        debug_assert!(waited, "a host runs what it is given");
        loan
    }

    fn take(&self, shelf: &mut Shelf) -> Option<Loan<'_>> {
        let instance = shelf.idle.pop();
        if instance.is_none() {
            if shelf.live >= self.bounds.instances_max {
                return None;
            }
            shelf.live += 1;
        }
        Some(Loan { pool: self, instance, returned: false })
    }

    fn wait_for_place(&self) -> MutexGuard<'_, Shelf> {
        let PoolBounds { instances_max, wait, .. } = self.bounds;
        let nothing_free = |shelf: &mut Shelf| shelf.idle.is_empty() && shelf.live >= instances_max;
        let waited = self.freed.wait_timeout_while(lock(&self.shelf), wait, nothing_free);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// A wake-up costs a system call, so only when someone waits.
    fn wake(&self, shelf: MutexGuard<'_, Shelf>) {
        let waiting = shelf.waiting;
        drop(shelf);
        if waiting > 0 {
            self.freed.notify_one();
        }
    }
}

impl Loan<'_> {
    /// The place's instance, made now when the place is empty.
    pub(crate) fn instance<E>(&mut self, make: impl FnOnce() -> Result<Instance, E>) -> Result<&mut Instance, E> {
        if self.instance.is_none() {
            self.instance = Some(make()?);
        }
        Ok(self.instance.as_mut().expect("it was there or has just been made"))
    }

    /// Gives the instance back for the next call.
    pub(crate) fn give_back(mut self) {
        let Some(instance) = self.instance.take() else { return };
        self.returned = true;
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
