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
    /// When something came. The timer is not set anew for each frame: it looks at this when it fires.
    heard: Instant,
    /// Longer ones are a death.
    pub max: Duration,
    /// When the request is over.
    deadline: Deadline,
}

impl Silence {
    pub fn of(max: Duration, look: Duration, deadline: Deadline) -> Silence {
        let heard = Instant::now();
        let timer = tokio::time::sleep_until(deadline.or(heard + look));
        Silence { timer: Box::pin(timer), look, looks: 0, heard, max, deadline }
    }

    /// The replica has said something.
    pub fn broken(&mut self) {
        self.looks = 0;
        self.heard = Instant::now();
    }

    /// Whether the request's time is over.
    pub fn is_late(&self) -> bool {
        self.deadline.is_over(Instant::now())
    }

    /// Ends at the next look that finds it silent: how long it has been.
    pub fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let due = self.heard + self.look * (self.looks + 1);
            if now < due && !self.deadline.is_over(now) {
                self.timer.as_mut().reset(self.deadline.or(due));
                continue;
            }
            self.looks += 1;
            self.timer.as_mut().reset(self.deadline.or(now + self.look));
            return Poll::Ready(self.look * self.looks);
        }
    }
}
