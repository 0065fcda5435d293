//! Takes connections: bounded in number, with bounded heads, TLS where configured, ended gracefully.

mod patient;
mod version;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::config::{Limits, TlsFiles};
use crate::exchange::HEADERS_ADDED_MAX;
use crate::tasks::Stopping;
use crate::workers::Workers;
use patient::Patient;
use version::{ALPN, Version, agreed, sniffed};

/// How long accepting pauses when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a stop waits for the first bytes of a client that has just connected: they are on their way.
const ON_THE_WAY_MAX: Duration = Duration::from_millis(250);

/// Requests that one HTTP/2 connection may have open at once.
const STREAMS_MAX: u32 = 256;
/// Streams that an HTTP/2 client may reset before they are looked at; more end the connection ("rapid reset",
/// CVE-2023-44487).
const RESETS_MAX: usize = 64;
/// How often a silent HTTP/2 client is asked whether it still lives; it must answer as soon.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Bytes of answers that wait in one HTTP/2 stream for a client that reads slowly.
const SEND_BYTES_MAX: usize = 64 << 10;

/// Why a port's certificate cannot be used.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error("cannot read PEM from {}: {source}", path.display())]
    Pem { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("the key {} does not fit the certificate {}: {source}", key.display(), cert.display())]
    Pair { cert: PathBuf, key: PathBuf, source: rustls::Error },
}

/// Reads a certificate and its key.
pub(crate) fn tls(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let TlsFiles { cert, key } = files;
    let pem = |path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::Pem { path, source }
    };
    let certs = CertificateDer::pem_file_iter(cert)
        .and_then(|certs| certs.collect::<Result<Vec<_>, _>>())
        .map_err(pem(cert))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions")
        .with_no_client_auth()
        .with_single_cert(certs, private)
        .map_err(|source| TlsError::Pair { cert: cert.clone(), key: key.clone(), source })?;
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A bound port.
pub(crate) struct Port {
    pub listener: TcpListener,
    pub tls: Option<TlsAcceptor>,
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
        let Port { listener, tls, room, bounds, workers } = self;
        let (open, _) = watch::channel(());
        let graceful = GracefulShutdown::new();
        let stop = stopping.clone().begun();
        tokio::pin!(stop);
        loop {
            let (stream, room) = tokio::select! {
                accepted = accept(&listener, &room) => accepted,
                () = &mut stop => break,
            };
            let connection = Connection { tls: tls.clone(), bounds, watcher: graceful.watcher(), _room: room };
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
        if tokio::time::timeout(drain_max, graceful.shutdown()).await.is_err() {
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

struct Connection {
    tls: Option<TlsAcceptor>,
    bounds: Bounds,
    watcher: Watcher,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, mut stream: TcpStream, answers: impl Answers, stopping: Stopping) {
        // Tokens are small writes; waiting to fill packets would add their spacing to every one.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let begin_max = self.bounds.header_time_max;
        let Some(tls) = &self.tls else {
            let begun = tokio::time::timeout(begin_max, sniffed(&mut stream));
            return match unless_stopped(begun, stopping).await {
                Some(Ok(Ok(Some((version, begun))))) => self.http(TokioIo::new(stream), version, begun, answers).await,
                Some(Ok(Err(error))) => tracing::debug!(%error, "connection ended early"),
                Some(Ok(Ok(None)) | Err(_)) | None => {}
            };
        };
        match unless_stopped(tokio::time::timeout(begin_max, tls.accept(stream)), stopping).await {
            Some(Ok(Ok(stream))) => {
                let version = agreed(stream.get_ref().1.alpn_protocol());
                self.http(TokioIo::new(stream), version, Bytes::new(), answers).await;
            }
            Some(Ok(Err(error))) => tracing::debug!(%error, "TLS handshake failed"),
            Some(Err(_)) => tracing::debug!("TLS handshake took too long"),
            None => {}
        }
    }

    async fn http(
        self,
        io: impl Read + Write + Unpin + Send + 'static,
        version: Version,
        begun: Bytes,
        answers: impl Answers,
    ) {
        let Connection { bounds, watcher, _room, .. } = self;
        let service = hyper::service::service_fn(move |request| {
            let answer = answers.clone().answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let io = Patient::new(io, begun, bounds.silence_time_max);
        let ended = match version {
            Version::One => {
                let mut connection = bounds.http1().serve_connection(io, service);
                // At a stop hyper closes a connection that it has read nothing of, though a request may wait there: it
                // reads first.
                match poll_fn(|cx| Poll::Ready(Pin::new(&mut connection).poll(cx))).await {
                    Poll::Ready(ended) => ended,
                    Poll::Pending => watcher.watch(connection).await,
                }
            }
            Version::Two => watcher.watch(bounds.http2().serve_connection(io, service)).await,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended early");
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

/// None where the proxy stops before, and a little later: what a client has just sent is on its way.
async fn unless_stopped<T>(begun: impl Future<Output = T>, stopping: Stopping) -> Option<T> {
    let stopped = async {
        stopping.begun().await;
        tokio::time::sleep(ON_THE_WAY_MAX).await;
    };
    tokio::select! {
        begun = begun => Some(begun),
        () = stopped => None,
    }
}

/// Binds a port.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
