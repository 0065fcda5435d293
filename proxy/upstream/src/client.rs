//! Sends a request on a kept connection, or on a new one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Response};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::pool::Pool;

/// What the client keeps and waits for.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time to connect.
    pub connect_time_max: Duration,
    /// Idle connections of one server.
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

/// Sends requests to servers. What it bounds besides [`Bounds`] is whose body is waited for: requests in flight have a
/// connection each.
pub struct Upstream {
    pool: Arc<Pool<Connection>>,
    connect_time_max: Duration,
}

impl Upstream {
    /// A client without connections.
    pub fn new(bounds: Bounds) -> Upstream {
        let Bounds { connect_time_max, idle_max, idle_time_max, threads } = bounds;
        Upstream { pool: Arc::new(Pool::new(threads, idle_max, idle_time_max)), connect_time_max }
    }

    /// The answer's head, and its body to be read. Headers go as they are, but for `host`, which is added where there is
    /// none, and `content-length`, which is the body's.
    pub async fn request(&self, request: Request<Bytes>, again: Again) -> Result<Response<Incoming>, Error> {
        let to = address(&request)?;
        let (head, body) = request.into_parts();
        if let Some(mut connection) = self.kept(&to) {
            match connection.request(&head, &body).await {
                Err(Error::Unanswered(_)) if again == Again::Harmless => {}
                answer => return Ok(self.answer(answer?, connection, to)),
            }
        }
        let wrong = |source| Error::Connect { to: to.to_string(), source };
        let mut connection = Connection::open(&to, self.connect_time_max).await.map_err(wrong)?;
        let answer = connection.request(&head, &body).await?;
        Ok(self.answer(answer, connection, to))
    }

    /// Closes connections that were idle too long.
    pub fn sweep(&self) {
        self.pool.sweep(Instant::now());
    }

    fn kept(&self, to: &Authority) -> Option<Connection> {
        let now = Instant::now();
        while let Some(connection) = self.pool.take(to.as_str(), now) {
            if connection.is_fresh() {
                return Some(connection);
            }
        }
        None
    }

    fn answer(&self, head: crate::head::Head, connection: Connection, to: Authority) -> Response<Incoming> {
        let body = Incoming::new(connection, (head.reader, head.keep), self.pool.clone(), to);
        let mut answer = Response::new(body);
        *answer.status_mut() = head.status;
        *answer.version_mut() = head.version;
        *answer.headers_mut() = head.headers;
        answer
    }
}

fn address(request: &Request<Bytes>) -> Result<Authority, Error> {
    let uri = request.uri();
    match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) if *scheme == Scheme::HTTP => Ok(authority.clone()),
        _ => Err(Error::Address(uri.to_string())),
    }
}
