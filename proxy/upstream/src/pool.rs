//! Keeps idle connections, by thread and by server.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Idle connections. Each thread has a shard of its own: a socket is waited for where its thread's runtime waits, and
/// no lock is contended.
pub(crate) struct Pool<C> {
    shards: Box<[Mutex<Shard<C>>]>,
    /// Of one server, in one shard.
    idle_max: usize,
    idle_time_max: Duration,
}

type Shard<C> = HashMap<Box<str>, VecDeque<Idle<C>>>;

struct Idle<C> {
    connection: C,
    since: Instant,
}

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(0) };
}

/// From now on this thread keeps its connections in a shard of its own: a thread whose runtime is its own must, for no
/// other may wait for its sockets. Threads that were told nothing share the first.
pub fn use_shard(index: usize) {
    SHARD.set(index);
}

impl<C> Pool<C> {
    pub fn new(shards: usize, idle_max: usize, idle_time_max: Duration) -> Pool<C> {
        let shards = shards.max(1);
        let idle_max = idle_max.div_ceil(shards);
        Pool { shards: (0..shards).map(|_| Mutex::default()).collect(), idle_max, idle_time_max }
    }

    /// The connection that was used last, for its server is the least likely to have closed it.
    pub fn take(&self, to: &str, now: Instant) -> Option<C> {
        let mut shard = self.shard();
        let idle = shard.get_mut(to)?;
        let last = idle.pop_back()?;
        if now.duration_since(last.since) < self.idle_time_max {
            return Some(last.connection);
        }
        // The others are older.
        idle.clear();
        None
    }

    /// Keeps a connection, in place of the oldest where there are too many.
    pub fn put(&self, to: &str, connection: C, now: Instant) {
        if self.idle_max == 0 {
            return;
        }
        let mut shard = self.shard();
        let idle = match shard.get_mut(to) {
            Some(idle) => idle,
            None => shard.entry(to.into()).or_default(),
        };
        if idle.len() == self.idle_max {
            idle.pop_front();
        }
        idle.push_back(Idle { connection, since: now });
    }

    /// Drops those that were idle too long, and servers that have none.
    pub fn sweep(&self, now: Instant) {
        for shard in &self.shards {
            lock(shard).retain(|_, idle| {
                while idle.front().is_some_and(|oldest| now.duration_since(oldest.since) >= self.idle_time_max) {
                    idle.pop_front();
                }
                !idle.is_empty()
            });
        }
    }

    fn shard(&self) -> MutexGuard<'_, Shard<C>> {
        lock(&self.shards[SHARD.get() % self.shards.len()])
    }
}

/// No code under the lock leaves a shard half changed.
fn lock<C>(shard: &Mutex<Shard<C>>) -> MutexGuard<'_, Shard<C>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_last_one_used_is_taken_first_and_the_oldest_goes_first() {
        let (pool, now) = (Pool::new(1, 2, seconds(4)), Instant::now());
        for connection in ["a", "b", "c"] {
            pool.put("h:1", connection, now);
        }
        assert_eq!(pool.take("h:2", now), None);
        assert_eq!([(); 3].map(|()| pool.take("h:1", now)), [Some("c"), Some("b"), None]);
    }

    #[test]
    fn none_is_taken_when_its_time_is_over() {
        let (pool, now) = (Pool::new(1, 2, seconds(4)), Instant::now());
        pool.put("h:1", "a", now);
        pool.put("h:1", "b", now + seconds(1));
        assert_eq!(pool.take("h:1", now + seconds(4)), Some("b"));
        assert_eq!(pool.take("h:1", now + seconds(4)), None);
    }

    #[test]
    fn a_sweep_drops_what_is_over_and_nothing_else() {
        let (pool, now) = (Pool::new(1, 2, seconds(4)), Instant::now());
        pool.put("h:1", "a", now);
        pool.put("h:1", "b", now + seconds(2));
        pool.put("h:2", "c", now);
        pool.sweep(now + seconds(5));
        assert_eq!(pool.shard().keys().map(AsRef::as_ref).collect::<Vec<_>>(), ["h:1"]);
        assert_eq!(pool.take("h:1", now + seconds(5)), Some("b"));
        assert_eq!(pool.take("h:1", now + seconds(5)), None);
    }

    #[test]
    fn a_pool_for_none_keeps_none() {
        let (pool, now) = (Pool::new(2, 0, seconds(4)), Instant::now());
        pool.put("h:1", "a", now);
        assert_eq!(pool.take("h:1", now), None);
    }
}
