//! Connections to replicas and other regions: pooled, bounded in time, with Nagle's algorithm off.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use upstream::{Again, Bounds, Incoming, Origin, Outgoing, Secure, Server};

use crate::base_url::BaseUrl;
use crate::config::{Limits, Transport};
use crate::tls::ServerTls;

/// How long an idle connection is kept. Shorter than the servers' own keep-alive (uvicorn's 5 s, our engine's 10 s), so
/// that we close first and no request goes into a connection that is being closed.
const IDLE_TIME_MAX: Duration = Duration::from_secs(4);
/// Bytes a looked-at endpoint may answer.
const PROBE_BYTES_MAX: usize = 1 << 20;

/// Connections that looking at a server takes at most: one is kept, and one follows its states.
const PROBE_CONNECTIONS_MAX: usize = 4;

/// What connections may take.
#[derive(Clone, Copy)]
pub(crate) struct Links {
    requests: Bounds,
    looks: Bounds,
}

/// The connections to one server: those of requests, and others for looking at it, so that looking never waits behind
/// requests.
pub(crate) struct Link {
    pub requests: Server,
    pub probe: Probe,
    /// `None`: in the clear.
    pub tls: Option<Arc<ServerTls>>,
}

impl Links {
    pub fn of(limits: &Limits) -> Links {
        let requests = Bounds {
            connect_time_max: Duration::from_millis(limits.connect_ms_max),
            connections_max: limits.replica_connections_max,
            wait_time_max: Duration::from_millis(limits.replica_wait_ms_max),
            streams_max: limits.replica_streams_max,
            idle_max: limits.replica_idle_max,
            idle_time_max: IDLE_TIME_MAX,
            threads: limits.data_threads(),
        };
        // All threads of the one runtime that looks wait for the same sockets.
        Links {
            requests,
            looks: Bounds { connections_max: PROBE_CONNECTIONS_MAX, idle_max: 1, threads: 1, ..requests },
        }
    }

    /// A server that nobody is connected to yet.
    pub fn to(&self, url: &BaseUrl, transport: &Transport) -> Link {
        let Transport { tls, server_name, http2 } = transport.clone();
        let secure = tls.as_ref().map(|tls| Secure { trust: tls.trust.clone(), name: server_name });
        let origin = Origin { authority: url.authority().clone(), secure, http2 };
        Link {
            requests: Server::new(origin.clone(), self.requests),
            probe: Probe(Server::new(origin, self.looks)),
            tls,
        }
    }
}

impl Link {
    /// Closes connections that were idle too long.
    pub fn sweep(&self) {
        self.requests.sweep();
        self.probe.0.sweep();
    }
}

/// Looks at a server.
pub(crate) struct Probe(Server);

impl Probe {
    /// The body of a good answer to GET, or what was wrong in one sentence.
    pub async fn get(&self, uri: Uri) -> Result<Bytes, String> {
        let mut request = Request::new(Bytes::new().into());
        *request.uri_mut() = uri;
        self.send(request).await
    }

    /// The body of a good answer to GET as it comes.
    pub async fn open(&self, uri: Uri) -> Result<Incoming, NotOpened> {
        let mut request = Request::new(Bytes::new().into());
        *request.uri_mut() = uri;
        let answer = self.0.request(request, Again::Harmless).await.map_err(|_| NotOpened::Failed)?;
        match answer.status() {
            status if status.is_success() => Ok(answer.into_body()),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Err(NotOpened::NotThere),
            _ => Err(NotOpened::Failed),
        }
    }

    /// The same for any request.
    pub async fn send(&self, request: Request<Outgoing>) -> Result<Bytes, String> {
        let path = request.uri().path().to_owned();
        let answer = self.0.request(request, Again::Harmless).await;
        let answer = answer.map_err(|error| in_words(&error))?;
        let status = answer.status();
        let body = body_of(answer.into_body()).await.map_err(|error| format!("GET {path}: {error}"))?;
        match status.is_success() {
            true => Ok(body),
            false => Err(format!("GET {path} answered {status}")),
        }
    }
}

/// Why there is no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOpened {
    /// The server has none.
    NotThere,
    Failed,
}

async fn body_of(body: Incoming) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
    Ok(Limited::new(body, PROBE_BYTES_MAX).collect().await?.to_bytes())
}

/// What a connection that was not made says of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoConnection {
    /// Nobody listens there.
    Refused,
    /// It may be ill, or far, or the way to it may be.
    Unclear,
    /// We had no means to try.
    OurOwn,
}

/// Linux's numbers for no more open files, in this process and in all; Rust has no portable kinds for them.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// Reads why a connection was not made.
pub(crate) fn no_connection(error: &(dyn Error + 'static)) -> NoConnection {
    let Some(cause) = io_cause(error) else { return NoConnection::Unclear };
    match (cause.kind(), cause.raw_os_error()) {
        (ErrorKind::ConnectionRefused, _) => NoConnection::Refused,
        (ErrorKind::AddrNotAvailable | ErrorKind::OutOfMemory, _) | (_, Some(EMFILE | ENFILE)) => NoConnection::OurOwn,
        _ => NoConnection::Unclear,
    }
}

fn io_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    match error.downcast_ref() {
        Some(cause) => Some(cause),
        None => io_cause(error.source()?),
    }
}

/// An error with what caused it, in one line.
pub(crate) fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !words.contains(&next) {
            words = format!("{words}: {next}");
        }
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Connect(#[source] io::Error);

    #[track_caller]
    fn check(cause: io::Error, expected: NoConnection) {
        assert_eq!(no_connection(&Connect(cause)), expected);
    }

    #[test]
    fn only_a_refusal_condemns_and_our_own_troubles_say_nothing_of_the_server() {
        check(ErrorKind::ConnectionRefused.into(), NoConnection::Refused);
        check(ErrorKind::TimedOut.into(), NoConnection::Unclear);
        check(ErrorKind::ConnectionReset.into(), NoConnection::Unclear);
        check(io::Error::other("no such host"), NoConnection::Unclear);
        check(io::Error::from_raw_os_error(EMFILE), NoConnection::OurOwn);
        check(io::Error::from_raw_os_error(ENFILE), NoConnection::OurOwn);
        check(ErrorKind::AddrNotAvailable.into(), NoConnection::OurOwn);
    }
}
