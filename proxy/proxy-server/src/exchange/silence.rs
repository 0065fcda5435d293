//! Watches for how long a replica has said nothing, and for the end of the request's time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::exchange::deadline::Deadline;

/// A silence that is looked at again and again.
pub(super) struct Silence {
    timer: Pin<Box<Sleep>>,
    /// How often is looked whether it is silent.
    look: Duration,
    /// Looks that found it silent.
    looks: u32,
    /// Longer ones are a death.
    pub max: Duration,
    /// When the request is over.
    deadline: Deadline,
}

impl Silence {
    pub fn of(max: Duration, look: Duration, deadline: Deadline) -> Silence {
        let timer = tokio::time::sleep_until(deadline.or(Instant::now() + look));
        Silence { timer: Box::pin(timer), look, looks: 0, max, deadline }
    }

    /// The replica has said something.
    pub fn broken(&mut self) {
        self.looks = 0;
        self.look_again();
    }

    /// Whether the request's time is over.
    pub fn is_late(&self) -> bool {
        self.deadline.is_over(Instant::now())
    }

    /// Ends at the next look that finds it silent: how long it has been.
    pub fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        ready!(self.timer.as_mut().poll(cx));
        self.looks += 1;
        self.look_again();
        Poll::Ready(self.look * self.looks)
    }

    fn look_again(&mut self) {
        self.timer.as_mut().reset(self.deadline.or(Instant::now() + self.look));
    }
}
