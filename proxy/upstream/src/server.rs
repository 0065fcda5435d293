//! One server: sends requests to it on kept connections, or on new ones, of which there are no more than may be.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode, request};
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::Error;
use crate::head::Head;
use crate::incoming::Incoming;
use crate::io::{Io, Version};
use crate::multiplexed::{Multiplexed, Sent, Stream};
use crate::origin::{Http2, Origin};
use crate::outgoing::Outgoing;
use crate::pool::Pool;
use crate::room::{Place, Room};
use crate::tls::{is_refusal, spoken, tls_fault};

/// What is kept of one server, and waited for.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time to connect, and to secure the connection.
    pub connect_time_max: Duration,
    /// Connections, idle and busy.
    pub connections_max: usize,
    /// How long a request waits for one where there may be no more.
    pub wait_time_max: Duration,
    /// Requests on one connection of HTTP/2.
    pub streams_max: usize,
    /// Idle connections.
    pub idle_max: usize,
    /// How long a connection is idle.
    pub idle_time_max: Duration,
    /// Threads with connections of their own.
    pub threads: usize,
}

/// Whether a request may be sent once more when its connection turns out to have been closed while it was idle. Its
/// server may have read it, and died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Nothing happens twice that must happen once.
    Harmless,
    /// Rather an error.
    Never,
}

/// Sends requests to a server; cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

/// What answers that are still being read need, too.
pub(crate) struct Inner {
    origin: Origin,
    bounds: Bounds,
    room: Arc<Room>,
    idle: Pool<Box<Connection>>,
    multiplexed: Multiplexed,
}

/// What a request goes over.
enum Way {
    One(Box<Connection>, Kept),
    Two(Stream),
}

/// Whether a connection was there before its request, and so may have been closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
}

impl Server {
    /// A server without connections.
    pub fn new(origin: Origin, bounds: Bounds) -> Server {
        let room = Room::new(bounds.connections_max);
        Server(Arc::new(Inner {
            idle: Pool::new(bounds.threads, bounds.idle_max, bounds.idle_time_max),
            multiplexed: Multiplexed::new(bounds.streams_max, bounds.idle_time_max, room.clone()),
            origin,
            bounds,
            room,
        }))
    }

    /// The answer's head, and its body to be read. Headers go as they are, but for `host`, which is added where there is
    /// none, and those that say how long the body is. A request with `upgrade` goes over HTTP/1.1, and may be answered
    /// with a connection of another protocol: [`Incoming::upgraded`].
    pub async fn request(&self, request: Request<Outgoing>, again: Again) -> Result<Response<Incoming>, Error> {
        let (head, body) = request.into_parts();
        let http2 = spoken(&self.0.origin, head.headers.contains_key(UPGRADE));
        let way = match self.kept(http2) {
            Some(way) => way,
            None => self.any(http2).await?,
        };
        match self.send(way, &head, &body, again).await? {
            Some(answer) => Ok(answer),
            // Its connection was closed, or does not take it: once more, on one that cannot have been.
            None => {
                let way = self.new_one(http2).await?;
                let answer = self.send(way, &head, &body, Again::Never).await?;
                answer.ok_or_else(|| self.no_room("it takes no further stream of HTTP/2"))
            }
        }
    }

    /// Closes connections that were idle too long.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.0.idle.sweep(now);
        self.0.multiplexed.sweep(now);
    }

    /// Connections that there are, idle and busy.
    pub fn connections(&self) -> usize {
        self.0.room.open()
    }

    /// Requests that wait for a connection.
    pub fn waiting(&self) -> usize {
        self.0.room.waiting()
    }

    /// Requests on connections of HTTP/2.
    pub fn streams(&self) -> usize {
        self.0.multiplexed.streams()
    }

    /// `None` where it is to be sent once more.
    async fn send(
        &self,
        way: Way,
        head: &request::Parts,
        body: &Outgoing,
        again: Again,
    ) -> Result<Option<Response<Incoming>>, Error> {
        match way {
            Way::One(connection, kept) => self.send_one(connection, kept, head, body, again).await,
            Way::Two(stream) => self.send_two(stream, head, body, again).await,
        }
    }

    async fn send_one(
        &self,
        mut connection: Box<Connection>,
        kept: Kept,
        head: &request::Parts,
        body: &Outgoing,
        again: Again,
    ) -> Result<Option<Response<Incoming>>, Error> {
        let Head { status, version, headers, reader, keep } = match connection.request(head, body).await {
            Ok(told) => told,
            Err(Error::Unanswered(_)) if kept == Kept::Yes && again == Again::Harmless => return Ok(None),
            Err(Error::Unanswered(Some(error))) if is_refusal(&error) => return Err(self.unconnected(error)),
            Err(error) => return Err(error),
        };
        let mut answer = Response::new(match status {
            StatusCode::SWITCHING_PROTOCOLS => Incoming::switched(*connection),
            _ => Incoming::of_one(connection, reader, keep, self.0.clone()),
        });
        *answer.status_mut() = status;
        *answer.version_mut() = version;
        *answer.headers_mut() = headers;
        Ok(Some(answer))
    }

    async fn send_two(
        &self,
        stream: Stream,
        head: &request::Parts,
        body: &Outgoing,
        again: Again,
    ) -> Result<Option<Response<Incoming>>, Error> {
        let mut request = Request::new(body.clone());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.headers_mut() = head.headers.clone();
        // There are no such connections in HTTP/2, and what it names would be taken out with it.
        request.headers_mut().remove(CONNECTION);
        match stream.request(request).await {
            Sent::Answered(answer) => Ok(Some(answer.map(|body| Incoming::of_two(body, stream)))),
            Sent::Unseen => Ok(None),
            Sent::Failed(Error::Unanswered(_)) if stream.is_kept && again == Again::Harmless => Ok(None),
            Sent::Failed(error) => Err(error),
        }
    }

    /// Room on a connection that there is.
    fn kept(&self, http2: Http2) -> Option<Way> {
        let Inner { origin, idle, multiplexed, .. } = &*self.0;
        let may_agree = || origin.secure.is_some() && multiplexed.may_agree();
        let may_be_two = http2 == Http2::Always || (http2 == Http2::Auto && may_agree());
        let stream = may_be_two.then(|| multiplexed.take()).flatten();
        stream.map(Way::Two).or_else(|| (http2 != Http2::Always).then(|| fresh(|now| idle.take(now))).flatten())
    }

    /// A new connection, or the first that comes free.
    async fn any(&self, http2: Http2) -> Result<Way, Error> {
        let Inner { room, bounds, idle, .. } = &*self.0;
        if let Some(place) = room.take() {
            return self.open(http2, place).await;
        }
        let waiting = room.wait();
        let free = async {
            loop {
                let way =
                    self.kept(http2).or_else(|| fresh(|now| idle.take_any(now)).filter(|_| http2 != Http2::Always));
                match way {
                    Some(way) => return Ok(way),
                    None => match room.take() {
                        Some(place) => return Err(place),
                        None => waiting.freed().await,
                    },
                }
            }
        };
        match tokio::time::timeout(bounds.wait_time_max, free).await {
            Ok(Ok(way)) => Ok(way),
            Ok(Err(place)) => self.open(http2, place).await,
            Err(_) => Err(self.all_in_use()),
        }
    }

    /// A connection of which we know that it was not closed while it was idle.
    async fn new_one(&self, http2: Http2) -> Result<Way, Error> {
        match self.0.room.take() {
            Some(place) => self.open(http2, place).await,
            // Another that is open is a better guess than none.
            None => self.any(http2).await,
        }
    }

    async fn open(&self, http2: Http2, place: Place) -> Result<Way, Error> {
        let Inner { origin, bounds, multiplexed, .. } = &*self.0;
        let _opening = self.alone(http2).await;
        if http2 != Http2::Never
            && let Some(stream) = multiplexed.take()
        {
            return Ok(Way::Two(stream));
        }
        let opened = Io::open(origin, http2, bounds.connect_time_max).await;
        let (io, version) = opened.map_err(|error| self.unconnected(error))?;
        if http2 == Http2::Auto {
            multiplexed.agreed(version);
        }
        match version {
            Version::One => Ok(Way::One(Box::new(Connection::new(io, place)), Kept::No)),
            Version::Two => {
                let begun = multiplexed.begin(io, place).await;
                begun.map(Way::Two).map_err(|error| self.unconnected(error))
            }
        }
    }

    /// A burst that finds no connection of HTTP/2 needs one, not one for each of its requests: one opens it, and the
    /// others wait for that, but no longer than connecting may take.
    async fn alone(&self, http2: Http2) -> Option<MutexGuard<'_, ()>> {
        let Inner { origin, bounds, multiplexed, .. } = &*self.0;
        let may_be_two = |http2| match http2 {
            Http2::Always => true,
            Http2::Auto => origin.secure.is_some() && multiplexed.may_agree(),
            Http2::Never => false,
        };
        if !may_be_two(http2) {
            return None;
        }
        let opening = tokio::time::timeout(bounds.connect_time_max, multiplexed.opening.lock()).await;
        opening.ok().filter(|_| may_be_two(http2))
    }

    fn unconnected(&self, source: io::Error) -> Error {
        let to = self.0.origin.authority.to_string();
        match tls_fault(&source) {
            Some(fault) => Error::Tls { to, fault },
            None => Error::Connect { to, source },
        }
    }

    fn all_in_use(&self) -> Error {
        self.no_room(&format!("all {} connections are in use", self.0.room.open_max()))
    }

    fn no_room(&self, why: &str) -> Error {
        Error::NoRoom { to: self.0.origin.authority.to_string(), why: why.to_owned() }
    }
}

/// The first idle connection that was not closed meanwhile.
fn fresh(take: impl Fn(Instant) -> Option<Box<Connection>>) -> Option<Way> {
    let now = Instant::now();
    while let Some(mut connection) = take(now) {
        if connection.is_fresh() {
            return Some(Way::One(connection, Kept::Yes));
        }
    }
    None
}

impl Inner {
    /// Keeps a connection for the next request.
    pub fn keep(&self, connection: Box<Connection>) {
        self.idle.put(connection, Instant::now());
        self.room.tell();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.0.origin.authority.as_str()).finish()
    }
}
