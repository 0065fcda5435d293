//! One client's connection, from its first byte to its last.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::Request;
use http::header::UPGRADE;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use openai_api::ErrorBody;
use prometheus::IntCounterVec;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;

use crate::listen::after::After;
use crate::listen::leave::Leave;
use crate::listen::patient::Patient;
use crate::listen::version::{Version, agreed, sniffed};
use crate::listen::{Answers, Bounds};
use crate::tls::{PortName, PortTls};

/// What is counted of a port's connections.
#[derive(Clone)]
pub(crate) struct Counts {
    /// By port and reason.
    pub handshakes_refused: IntCounterVec,
    /// By port.
    pub slow_heads: IntCounterVec,
}

pub(super) struct Connection {
    pub port: PortName,
    pub tls: Option<Arc<PortTls>>,
    pub bounds: Bounds,
    pub counts: Counts,
    /// Ends it when the proxy ends.
    pub leave: Leave,
    pub _room: OwnedSemaphorePermit,
}

impl Connection {
    pub async fn serve(self, mut stream: TcpStream, answers: impl Answers) {
        // Tokens are small writes; waiting to fill packets would add their spacing to every one.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        if let Some(tls) = &self.tls {
            if let Some(Some(stream)) = self.leave.clone().unless_over(self.secured(tls, stream)).await {
                let version = agreed(stream.get_ref().1.alpn_protocol());
                self.http(TokioIo::new(stream), version, Bytes::new(), answers).await;
            }
            return;
        }
        let mut begun = BytesMut::new();
        let sniffing = tokio::time::timeout(self.bounds.header_time_max, sniffed(&mut stream, &mut begun));
        match self.leave.clone().unless_over(sniffing).await {
            Some(Ok(Ok(Some(version)))) => self.http(TokioIo::new(stream), version, begun.freeze(), answers).await,
            Some(Ok(Err(error))) => tracing::debug!(%error, "connection ended early"),
            Some(Err(_)) if !begun.is_empty() => self.late(stream).await,
            Some(Ok(Ok(None)) | Err(_)) | None => {}
        }
    }

    async fn secured(&self, tls: &PortTls, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let (why, error) = match tokio::time::timeout(self.bounds.header_time_max, tls.acceptor().accept(stream)).await
        {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => (why(&error), error.to_string()),
            Err(_) => ("late", "it took too long".to_owned()),
        };
        self.counts.handshakes_refused.with_label_values(&[self.port.word(), why]).inc();
        tracing::debug!(port = self.port.word(), why, error, "TLS handshake failed");
        None
    }

    async fn http(
        self,
        io: impl Read + Write + Unpin + Send + 'static,
        version: Version,
        begun: Bytes,
        answers: impl Answers,
    ) {
        let after = After::default();
        let at_hand = after.clone();
        // An HTTP/2 client is told by GOAWAY.
        let last = matches!(version, Version::One).then(|| self.leave.last());
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            if request.headers().contains_key(UPGRADE) {
                request.extensions_mut().insert(at_hand.clone());
            }
            let answer = answers.clone().answer(request);
            let last = last.clone();
            async move {
                let mut answer = answer.await;
                last.iter().for_each(|last| last.mark(&mut answer));
                Ok::<_, Infallible>(answer)
            }
        });
        let io = Patient::new(io, begun, self.bounds.silence_time_max);
        let ended = match version {
            Version::One => {
                let mut connection = self.bounds.http1().serve_connection(io, service).with_upgrades();
                let served = self.leave.clone().served(&mut connection, |connection| {
                    Pin::new(&mut **connection.get_mut()).graceful_shutdown();
                });
                let ended = served.await;
                if ended.as_ref().is_err_and(hyper::Error::is_timeout)
                    && let Some(parts) = connection.into_parts()
                    && !parts.read_buf.is_empty()
                {
                    return self.late(TokioIo::new(parts.io)).await;
                }
                ended
            }
            Version::Two => {
                // GOAWAY says which requests were seen; but one that is still being made would be closed without it.
                let connection = self.bounds.http2().serve_connection(io, service);
                self.leave.clone().served(connection, http2::Connection::graceful_shutdown).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended early");
        }
        if let Some(task) = after.take() {
            task.await;
        }
    }

    /// Tells a client that its head took too long; it may have forgotten about it.
    async fn late(self, mut io: impl AsyncWrite + Unpin) {
        self.counts.slow_heads.with_label_values(&[self.port.word()]).inc();
        let message = format!(
            "the request's head did not come within {} ms (limits.header_ms_max)",
            self.bounds.header_time_max.as_millis()
        );
        let body = serde_json::to_string(&ErrorBody::invalid_request(message).code("head_too_slow"));
        let body = body.expect("an error's words are JSON");
        let head = "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n";
        let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let told = async {
            io.write_all(answer.as_bytes()).await?;
            io.shutdown().await
        };
        // One that reads nothing is left.
        if !matches!(tokio::time::timeout(self.bounds.header_time_max, told).await, Ok(Ok(()))) {
            tracing::debug!("a client with a slow head did not hear that it was too slow");
        }
    }
}

/// Why a client and we did not agree, in a word for the metric.
fn why(error: &io::Error) -> &'static str {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented, PeerIncompatible};
    let wrong = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    match wrong {
        Some(NoCertificatesPresented) => "no_certificate",
        Some(InvalidCertificate(_)) => "bad_certificate",
        Some(AlertReceived(_)) => "client_refused",
        Some(InvalidMessage(_)) => "not_tls",
        Some(PeerIncompatible(_)) => "incompatible",
        Some(_) => "other",
        None => "left",
    }
}
