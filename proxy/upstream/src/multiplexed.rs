//! Connections of HTTP/2, shared by many requests: which has room for one more stream, and what its failures mean.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

use crate::error::Error;
use crate::io::{Io, Version};
use crate::outgoing::Outgoing;
use crate::room::{Place, Room};

/// Bytes of one answer that may wait for whoever reads it.
const STREAM_BYTES_MAX: u32 = 64 << 10;
/// Bytes of a request that wait for the server.
const SEND_BYTES_MAX: usize = 256 << 10;
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: u32 = 64 << 10;
/// How often a connection with streams is asked whether the server still lives; it must answer as soon.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// A server's connections of HTTP/2.
pub(crate) struct Multiplexed {
    connections: Mutex<Vec<Arc<Shared>>>,
    /// Who holds it opens a connection; who waits for it may then use that one.
    pub opening: tokio::sync::Mutex<()>,
    /// The server would rather speak HTTP/1.1, as the last connection showed.
    disagrees: AtomicBool,
    streams_max: usize,
    idle_time_max: Duration,
    room: Arc<Room>,
}

/// One connection.
struct Shared {
    sender: SendRequest<Outgoing>,
    streams: AtomicUsize,
    /// `None` once it has ended.
    driven: Arc<Mutex<Option<Driven>>>,
    idle_since: Mutex<Instant>,
    /// It takes no further request; those that it has go on.
    leaves: AtomicBool,
}

/// What a connection's task drives.
type Driven = Connection<TokioIo<Io>, Outgoing, TokioExecutor>;

/// One stream of a connection, from before its request to its answer's end.
pub(crate) struct Stream {
    connection: Arc<Shared>,
    room: Arc<Room>,
    /// The connection was there before this request.
    pub is_kept: bool,
}

/// What became of a request.
pub(crate) enum Sent {
    Answered(Response<hyper::body::Incoming>),
    /// The server has not taken it up.
    Unseen,
    Failed(Error),
}

impl Multiplexed {
    pub fn new(streams_max: usize, idle_time_max: Duration, room: Arc<Room>) -> Multiplexed {
        Multiplexed {
            connections: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            disagrees: AtomicBool::new(false),
            streams_max,
            idle_time_max,
            room,
        }
    }

    /// Room on a connection that there is.
    pub fn take(&self) -> Option<Stream> {
        let mut connections = self.connections();
        connections.retain(|connection| !connection.leaves());
        connections.iter().find_map(|connection| self.stream_on(connection))
    }

    /// Makes a connection of HTTP/2 of one that was just opened, and takes its first stream.
    pub async fn begin(&self, io: Io, place: Place) -> io::Result<Stream> {
        let connection_bytes = STREAM_BYTES_MAX.saturating_mul(u32::try_from(self.streams_max).unwrap_or(u32::MAX));
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_BYTES_MAX)
            // One answer that nobody reads must not hold up the others.
            .initial_connection_window_size(connection_bytes.min(i32::MAX as u32))
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_send_buf_size(SEND_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
        let driven = Arc::new(Mutex::new(Some(connection)));
        let shared = Arc::new(Shared {
            sender,
            streams: AtomicUsize::new(0),
            driven: driven.clone(),
            idle_since: Mutex::new(Instant::now()),
            leaves: AtomicBool::new(false),
        });
        tokio::spawn(async move {
            let _place = place;
            // What ends it early shows in the streams that it takes along.
            let _ = poll_fn(|cx| match &mut *lock(&driven) {
                Some(connection) => Pin::new(connection).poll(cx),
                None => Poll::Ready(Ok(())),
            })
            .await;
            *lock(&driven) = None;
        });
        let mut stream = self.stream_on(&shared).expect("a new connection has room");
        stream.is_kept = false;
        self.connections().push(shared);
        // Who waits for room finds it on this one.
        self.room.tell();
        Ok(stream)
    }

    /// Takes note of what TLS has agreed on.
    pub fn agreed(&self, version: Version) {
        self.disagrees.store(version == Version::One, Ordering::Relaxed);
    }

    /// Whether TLS may agree on HTTP/2, as far as is known.
    pub fn may_agree(&self) -> bool {
        !self.disagrees.load(Ordering::Relaxed)
    }

    fn stream_on(&self, connection: &Arc<Shared>) -> Option<Stream> {
        // A server that lets there be none is asked all the same, and says so.
        let most = connection.streams_let().clamp(1, self.streams_max);
        let one_more = |streams: usize| (streams < most).then_some(streams + 1);
        connection.streams.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(Stream { connection: connection.clone(), room: self.room.clone(), is_kept: true })
    }

    /// Closes connections that were idle too long.
    pub fn sweep(&self, now: Instant) {
        self.connections().retain(|connection| {
            connection.streams.load(Ordering::SeqCst) > 0
                || now.saturating_duration_since(*connection.idle_since()) < self.idle_time_max
        });
    }

    /// Streams that there are.
    pub fn streams(&self) -> usize {
        self.connections().iter().map(|connection| connection.streams.load(Ordering::Relaxed)).sum()
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        lock(&self.connections)
    }
}

/// No code under these locks leaves anything half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Relaxed) || self.sender.is_closed()
    }

    /// Streams that the server lets there be.
    fn streams_let(&self) -> usize {
        lock(&self.driven).as_ref().map_or(0, Connection::current_max_send_streams)
    }

    fn idle_since(&self) -> MutexGuard<'_, Instant> {
        lock(&self.idle_since)
    }
}

impl Stream {
    /// Sends a request and waits for the answer's head.
    pub async fn request(&self, request: Request<Outgoing>) -> Sent {
        let mut sender = self.connection.sender.clone();
        let sent = match sender.try_send_request(request).await {
            Ok(answer) => return Sent::Answered(answer),
            Err(mut failed) => match failed.take_message() {
                Some(_) => Sent::Unseen,
                None => failed_by(failed.into_error()),
            },
        };
        if matches!(sent, Sent::Unseen) {
            self.connection.leaves.store(true, Ordering::Relaxed);
        }
        sent
    }
}

fn failed_by(error: hyper::Error) -> Sent {
    let cause = cause_of(&error);
    match cause.and_then(h2::Error::reason) {
        Some(h2::Reason::REFUSED_STREAM) => Sent::Unseen,
        // Of an orderly end only those streams hear that the server has not taken up; the others go on.
        Some(h2::Reason::NO_ERROR) if cause.is_some_and(h2::Error::is_go_away) => Sent::Unseen,
        Some(h2::Reason::HTTP_1_1_REQUIRED) => {
            Sent::Failed(Error::Broken("it wants HTTP/1.1 for this: write http2 = \"never\""))
        }
        _ => Sent::Failed(Error::Unanswered(Some(io::Error::other(error)))),
    }
}

fn cause_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a h2::Error> {
    match error.downcast_ref::<h2::Error>() {
        Some(error) => Some(error),
        None => cause_of(error.source()?),
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.connection.streams.fetch_sub(1, Ordering::SeqCst) == 1 {
            *self.connection.idle_since() = Instant::now();
        }
        self.room.tell();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}
