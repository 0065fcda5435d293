//! How connections end when the proxy does: a request that is on its way is answered, and its answer says that it is the last.

use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Response, StatusCode};
use tokio::net::TcpStream;

use crate::tasks::{Ending, Stopping};

/// How long a stop waits for the next bytes of a client: what it has just sent is on its way.
const ON_THE_WAY_MAX: Duration = Duration::from_millis(250);
/// The same where another process answers new connections: nobody waits for this one to end, and a client that keeps its
/// connection may send its next request at any time.
const HANDED_OVER_MAX: Duration = Duration::from_secs(5);

/// Ends a port's connections when the proxy does.
#[derive(Clone)]
pub(super) struct Leave {
    stopping: Stopping,
    drain_max: Duration,
    last: Last,
}

/// Knows whether the next answer is a connection's last. Each request has one, so asking costs a look.
#[derive(Clone, Default)]
pub(super) struct Last(Arc<AtomicBool>);

impl Leave {
    pub fn new(stopping: Stopping, drain_max: Duration) -> Leave {
        Leave { stopping, drain_max, last: Last::default() }
    }

    /// From now on each answer of these connections is the last of its own.
    pub fn begin(&self) {
        self.last.0.store(true, Ordering::Relaxed);
    }

    pub fn last(&self) -> Last {
        self.last.clone()
    }

    /// `None` where the proxy ends before, and the client has been waited for.
    pub async fn unless_over<T>(self, begun: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            begun = begun => Some(begun),
            () = self.over() => None,
        }
    }

    /// Serves a connection to its end. One that is at nothing is not closed as soon as the proxy ends: its client may be
    /// sending its next request, which nobody else would answer. `close` lets it take no further one.
    pub async fn served<C: Future>(self, connection: C, close: impl FnOnce(Pin<&mut C>)) -> C::Output {
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            // The connection first: what has come is read before it is closed.
            biased;
            ended = connection.as_mut() => return ended,
            () = self.over() => {}
        }
        close(connection.as_mut());
        connection.await
    }

    async fn over(self) {
        let patience = match self.stopping.begun().await {
            Ending::Stopped => ON_THE_WAY_MAX,
            Ending::HandedOver => HANDED_OVER_MAX,
        };
        // The other half is for the answer.
        tokio::time::sleep(patience.min(self.drain_max / 2)).await;
    }
}

impl Last {
    /// Tells the client that this is the connection's last answer, if it is.
    pub fn mark<B>(&self, answer: &mut Response<B>) {
        if self.0.load(Ordering::Relaxed) && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Those who have connected and whom nobody else will answer: they would be reset when the listener is closed.
pub(super) fn left_over(listener: tokio::net::TcpListener) -> impl Iterator<Item = TcpStream> {
    let mut listener: Option<TcpListener> = listener.into_std().ok();
    std::iter::from_fn(move || {
        let stream = listener.as_ref().and_then(|listener| listener.accept().ok()).map(|(stream, _)| stream);
        if stream.is_none() {
            listener = None;
        }
        stream
    })
    .filter_map(|stream| {
        stream.set_nonblocking(true).ok()?;
        TcpStream::from_std(stream).ok()
    })
}
