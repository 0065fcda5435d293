//! Takes connections: bounded in number, with bounded heads, TLS where configured, ended gracefully.

mod after;
mod connection;
mod patient;
mod version;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::config::Limits;
use crate::exchange::HEADERS_ADDED_MAX;
use crate::tasks::Stopping;
use crate::tls::{PortName, PortTls};
use crate::workers::Workers;
use connection::Connection;

pub(crate) use after::After;
pub(crate) use connection::Counts;
pub(crate) use version::ALPN;

/// How long accepting pauses when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Requests that one HTTP/2 connection may have open at once.
const STREAMS_MAX: u32 = 256;
/// Streams that an HTTP/2 client may reset before they are looked at; more end the connection ("rapid reset",
/// CVE-2023-44487).
const RESETS_MAX: usize = 64;
/// How often a silent HTTP/2 client is asked whether it still lives; it must answer as soon.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Bytes of answers that wait in one HTTP/2 stream for a client that reads slowly.
const SEND_BYTES_MAX: usize = 64 << 10;

/// A bound port.
pub(crate) struct Port {
    pub name: PortName,
    pub listener: TcpListener,
    pub tls: Option<Arc<PortTls>>,
    pub counts: Counts,
    /// Room for connections.
    pub room: Arc<Semaphore>,
    pub bounds: Bounds,
    /// Who serves its connections; else the runtime that takes them.
    pub workers: Option<Arc<Workers>>,
}

/// What one connection may take.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    header_bytes_max: usize,
    headers_max: usize,
    header_time_max: Duration,
    silence_time_max: Duration,
}

impl Bounds {
    pub fn of(limits: &Limits) -> Bounds {
        Bounds {
            header_bytes_max: limits.header_bytes_max,
            // What another region's proxy adds is no more of its client's.
            headers_max: limits.headers_max.saturating_add(HEADERS_ADDED_MAX),
            header_time_max: Duration::from_millis(limits.header_ms_max),
            silence_time_max: Duration::from_millis(limits.silence_ms_max),
        }
    }
}

/// Answers requests; cheap to clone.
pub(crate) trait Answers: Clone + Send + Unpin + 'static {
    type Body: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    fn answer(self, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send + 'static;
}

impl Port {
    /// Takes connections until the stop, then waits until those that are open have finished what they are at. A plain
    /// connection is HTTP/2 when it begins so (prior knowledge), one over TLS when both have agreed on it.
    pub async fn serve(self, answers: impl Answers, stopping: Stopping, drain_max: Duration) {
        let Port { name: port, listener, tls, counts, room, bounds, workers } = self;
        let (open, _) = watch::channel(());
        let (end, _) = watch::channel(false);
        let stop = stopping.clone().begun();
        tokio::pin!(stop);
        loop {
            let (stream, room) = tokio::select! {
                accepted = accept(&listener, &room) => accepted,
                () = &mut stop => break,
            };
            let (tls, counts, ends) = (tls.clone(), counts.clone(), end.subscribe());
            let connection = Connection { port, tls, bounds, counts, ends, _room: room };
            let (mut open, answers, stopping) = (open.subscribe(), answers.clone(), stopping.clone());
            let serve = move |stream| async move {
                tokio::select! {
                    () = connection.serve(stream, answers, stopping) => {}
                    // The port has waited long enough.
                    _ = open.changed() => {}
                }
            };
            match &workers {
                None => drop(tokio::spawn(serve(stream))),
                Some(workers) => match stream.into_std() {
                    Ok(stream) => workers.serve(stream, serve),
                    Err(error) => tracing::warn!(%error, "a connection could not be handed on"),
                },
            }
        }
        drop(listener);
        end.send_replace(true);
        if tokio::time::timeout(drain_max, end.closed()).await.is_err() {
            tracing::warn!("connections did not finish in time and are closed");
        }
    }
}

/// The next connection; waits for room first, so that clients queue in the kernel's bounded backlog.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Bounds {
    fn http1(self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_time_max)
            .max_headers(self.headers_max)
            .max_buf_size(self.header_bytes_max);
        builder
    }

    fn http2(self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_header_list_size(u32::try_from(self.header_bytes_max).unwrap_or(u32::MAX))
            .max_send_buf_size(SEND_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL);
        builder
    }
}

/// Binds a port.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
