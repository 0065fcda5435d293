//! Lends instances to calls: one each, the most recently used first, no more than there may be.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{instance::Instance, slot::lock};

/// The instances of one component.
pub(crate) struct Pool {
    shelf: Mutex<Shelf>,
    freed: Condvar,
    instances_max: usize,
    wait: Duration,
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
    pub(crate) fn new(instances_max: usize, wait: Duration) -> Pool {
        Pool { shelf: Mutex::default(), freed: Condvar::new(), instances_max: instances_max.max(1), wait }
    }

    /// How full it is.
    pub(crate) fn now(&self) -> Instances {
        let shelf = lock(&self.shelf);
        Instances { busy: shelf.live - shelf.idle.len(), idle: shelf.idle.len(), max: self.instances_max }
    }

    /// Adds an instance that is ready.
    pub(crate) fn stock(&self, instance: Instance) {
        let mut shelf = lock(&self.shelf);
        shelf.live += 1;
        shelf.idle.push(instance);
    }

    /// Takes a place, waiting a bounded time when all are taken; `None` when none came free.
    pub(crate) fn lend(&self) -> Option<Loan<'_>> {
        let mut shelf = lock(&self.shelf);
        if shelf.idle.is_empty() && shelf.live >= self.instances_max {
            shelf.waiting += 1;
            let nothing_free = |shelf: &mut Shelf| shelf.idle.is_empty() && shelf.live >= self.instances_max;
            let waited = self.freed.wait_timeout_while(shelf, self.wait, nothing_free);
            shelf = waited.unwrap_or_else(PoisonError::into_inner).0;
            shelf.waiting -= 1;
        }
        if let Some(instance) = shelf.idle.pop() {
            return Some(Loan { pool: self, instance: Some(instance), returned: false });
        }
        if shelf.live >= self.instances_max {
            return None;
        }
        shelf.live += 1;
        Some(Loan { pool: self, instance: None, returned: false })
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
