//! Bounds the connections to one server, and wakes who waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many connections there may be, and are.
pub(crate) struct Room {
    open: AtomicUsize,
    open_max: usize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// One connection's place; given back when dropped.
pub(crate) struct Place(Arc<Room>);

/// Counts one who waits.
pub(crate) struct Waiting<'a>(&'a Room);

impl Room {
    pub fn new(open_max: usize) -> Arc<Room> {
        Arc::new(Room { open: AtomicUsize::new(0), open_max, waiting: AtomicUsize::new(0), freed: Notify::new() })
    }

    /// A place, if there is one.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let one_more = |open: usize| (open < self.open_max).then_some(open + 1);
        self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(Place(self.clone()))
    }

    /// Takes note that somebody waits, who must look for a place and for idle connections once more after this.
    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    /// Wakes one who waits: there is a place, an idle connection, or room on one. It costs nothing where nobody waits.
    pub fn tell(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    /// Connections that there are.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that there may be.
    pub fn open_max(&self) -> usize {
        self.open_max
    }

    /// Requests that wait for one.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Waiting<'_> {
    /// Until something is free. What is freed between two calls is not missed.
    pub async fn freed(&self) {
        self.0.freed.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        // It may have been woken for what another one waits for.
        self.0.tell();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_places_than_may_be() {
        let room = Room::new(2);
        let (first, second) = (room.take(), room.take());
        assert!(first.is_some() && second.is_some() && room.take().is_none());
        drop(first);
        assert_eq!(room.open(), 1);
        assert!(room.take().is_some());
    }

    #[tokio::test]
    async fn who_waits_is_woken_even_if_it_looks_away() {
        let room = Room::new(1);
        let place = room.take();
        let waiting = room.wait();
        assert_eq!(room.waiting(), 1);
        drop(place);
        // The place was free before this.
        waiting.freed().await;
        assert!(room.take().is_some());
    }

    #[tokio::test]
    async fn who_gives_up_passes_on_what_it_was_woken_for() {
        let room = Room::new(1);
        let place = room.take();
        let (first, second) = (room.wait(), room.wait());
        drop(place);
        drop(first);
        second.freed().await;
    }
}
