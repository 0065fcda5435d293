//! What will happen, in order of time; at the same time, in the order in which it was foreseen.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Events to come, and the time of the last one taken.
#[derive(Debug)]
pub(crate) struct Events<E> {
    to_come: BinaryHeap<Reverse<Due<E>>>,
    foreseen: u64,
    now_us: u64,
}

#[derive(Debug)]
struct Due<E> {
    at_us: u64,
    number: u64,
    event: E,
}

impl<E> Events<E> {
    pub(crate) fn new() -> Events<E> {
        Events { to_come: BinaryHeap::new(), foreseen: 0, now_us: 0 }
    }

    /// The time of the last event taken.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Foresees an event so long after now.
    pub(crate) fn after(&mut self, us: u64, event: E) {
        self.foreseen += 1;
        self.to_come.push(Reverse(Due { at_us: self.now_us + us, number: self.foreseen, event }));
    }

    /// The next event; the clock moves to it.
    pub(crate) fn next(&mut self) -> Option<E> {
        let Reverse(Due { at_us, event, .. }) = self.to_come.pop()?;
        assert!(at_us >= self.now_us, "time never runs backwards");
        self.now_us = at_us;
        Some(event)
    }
}

impl<E> Due<E> {
    fn key(&self) -> (u64, u64) {
        (self.at_us, self.number)
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Due<E>) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Due<E>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Due<E>) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Due<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_by_turn() {
        let mut events = Events::new();
        events.after(5, "later");
        events.after(1, "first");
        events.after(1, "second");
        assert_eq!(events.next(), Some("first"));
        events.after(0, "at once, but behind what was foreseen");
        assert_eq!(events.next(), Some("second"));
        assert_eq!(events.next(), Some("at once, but behind what was foreseen"));
        assert_eq!((events.next(), events.now_us(), events.next()), (Some("later"), 5, None));
    }
}
