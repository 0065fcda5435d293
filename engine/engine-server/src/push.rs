//! Pushes the engine's state to whoever follows it: when it changes, and at least every so often.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::watch;

use crate::driver::View;
use crate::server::{Health, Server};

/// The least and the most that may pass between two pushes while the state changes, in milliseconds.
const EVERY_MS: std::ops::RangeInclusive<u64> = 20..=1000;
/// A state that does not change is pushed after this many times as long.
const QUIET_TIMES: u32 = 5;
/// Its followers learn within this that the engine drains.
const QUIET_MAX: Duration = Duration::from_millis(250);

struct Pushing {
    server: Arc<Server>,
    view: watch::Receiver<View>,
    every: Duration,
    began: bool,
    ended: bool,
}

/// Events of `text/event-stream`. Ends when the engine drains, so that it holds no shutdown up.
pub(crate) fn states(server: Arc<Server>, every_ms: u64) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let every = Duration::from_millis(every_ms.clamp(*EVERY_MS.start(), *EVERY_MS.end()));
    let view = server.view.clone();
    unfold(Pushing { server, view, every, began: false, ended: false }, next)
}

async fn next(mut pushing: Pushing) -> Option<(Result<Bytes, Infallible>, Pushing)> {
    if pushing.ended {
        return None;
    }
    if pushing.began {
        pushing.wait().await;
    }
    pushing.began = true;
    pushing.view.mark_unchanged();
    pushing.ended = pushing.server.health() != Health::Ok;
    let state = serde_json::to_string(&pushing.server.state()).expect("a state of numbers and names is JSON");
    Some((Ok(Bytes::from(format!("data: {state}\n\n"))), pushing))
}

impl Pushing {
    async fn wait(&mut self) {
        tokio::time::sleep(self.every).await;
        let quiet = (self.every * QUIET_TIMES).min(QUIET_MAX.max(self.every)).saturating_sub(self.every);
        // Both ends of the wait are a reason to push; an error is the driver's end, which the state tells.
        let _ = tokio::time::timeout(quiet, self.view.changed()).await;
    }
}
