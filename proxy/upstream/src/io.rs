//! A connection's bytes, in the clear or by TLS.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::origin::{Http2, Origin};
use crate::tls::secured;

/// How soon the kernel asks a silent peer whether it still lives.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A connection.
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Which HTTP a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Io {
    /// Connects, in all within `time_max`. Says which HTTP is to be spoken.
    pub async fn open(origin: &Origin, http2: Http2, time_max: Duration) -> io::Result<(Io, Version)> {
        let late = || io::Error::new(ErrorKind::TimedOut, "it took too long");
        tokio::time::timeout(time_max, Io::opened(origin, http2)).await.map_err(|_| late())?
    }

    async fn opened(origin: &Origin, http2: Http2) -> io::Result<(Io, Version)> {
        let stream = TcpStream::connect(origin.address()).await?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        let Some(secure) = &origin.secure else {
            let version = if http2 == Http2::Always { Version::Two } else { Version::One };
            return Ok((Io::Plain(stream), version));
        };
        let (stream, is_two) = secured(secure, &origin.authority, http2, stream).await?;
        Ok((Io::Tls(Box::new(stream)), if is_two { Version::Two } else { Version::One }))
    }

    /// Whether nothing came while it was idle: bytes nobody asked for, or its end.
    pub fn is_fresh(&mut self) -> bool {
        match self {
            Io::Plain(stream) => stream.try_read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            // What comes may be about TLS alone, such as a ticket for the next session.
            Io::Tls(stream) => {
                let (mut byte, mut cx) = ([0], Context::from_waker(Waker::noop()));
                Pin::new(stream.as_mut()).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
