//! Keeps a server's idle connections, by thread.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Idle connections. Each thread has a shard of its own: a socket is waited for where its thread's runtime waits, and
/// no lock is contended.
pub(crate) struct Pool<C> {
    shards: Box<[Mutex<Shard<C>>]>,
    /// In one shard.
    idle_max: usize,
    idle_time_max: Duration,
}

type Shard<C> = VecDeque<Idle<C>>;

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

    /// The connection that was used last, for it is the least likely to have been closed.
    pub fn take(&self, now: Instant) -> Option<C> {
        self.take_of(&mut self.shard(), now)
    }

    /// The same of any thread: for who has waited because there may be no further connection.
    pub fn take_any(&self, now: Instant) -> Option<C> {
        self.shards.iter().find_map(|shard| self.take_of(&mut lock(shard), now))
    }

    fn take_of(&self, shard: &mut Shard<C>, now: Instant) -> Option<C> {
        let last = shard.pop_back()?;
        if now.duration_since(last.since) < self.idle_time_max {
            return Some(last.connection);
        }
        // The others are older.
        shard.clear();
        None
    }

    /// Keeps a connection, in place of the oldest where there are too many.
    pub fn put(&self, connection: C, now: Instant) {
        if self.idle_max == 0 {
            return;
        }
        let mut shard = self.shard();
        if shard.len() == self.idle_max {
            shard.pop_front();
        }
        shard.push_back(Idle { connection, since: now });
    }

    /// Drops those that were idle too long.
    pub fn sweep(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            while shard.front().is_some_and(|oldest| now.duration_since(oldest.since) >= self.idle_time_max) {
                shard.pop_front();
            }
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
            pool.put(connection, now);
        }
        assert_eq!([(); 3].map(|()| pool.take(now)), [Some("c"), Some("b"), None]);
    }

    #[test]
    fn none_is_taken_when_its_time_is_over() {
        let (pool, now) = (Pool::new(1, 2, seconds(4)), Instant::now());
        pool.put("a", now);
        pool.put("b", now + seconds(1));
        assert_eq!(pool.take(now + seconds(4)), Some("b"));
        assert_eq!(pool.take(now + seconds(4)), None);
    }

    #[test]
    fn a_sweep_drops_what_is_over_and_nothing_else() {
        let (pool, now) = (Pool::new(1, 2, seconds(4)), Instant::now());
        pool.put("a", now);
        pool.put("b", now + seconds(2));
        pool.sweep(now + seconds(5));
        assert_eq!(pool.take(now + seconds(5)), Some("b"));
        assert_eq!(pool.take(now + seconds(5)), None);
    }

    #[test]
    fn who_has_waited_takes_another_threads_connection() {
        let (pool, now) = (Pool::new(2, 4, seconds(4)), Instant::now());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use_shard(1);
                pool.put("a", now);
            });
        });
        assert_eq!((pool.take(now), pool.take_any(now)), (None, Some("a")));
    }

    #[test]
    fn a_pool_for_none_keeps_none() {
        let (pool, now) = (Pool::new(2, 0, seconds(4)), Instant::now());
        pool.put("a", now);
        assert_eq!(pool.take(now), None);
    }
}
