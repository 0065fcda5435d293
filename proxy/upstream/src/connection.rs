//! One connection to a server: what is still to be written, and what was read.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::uri::Authority;
use http::{Method, request};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use crate::error::Error;
use crate::head::{Head, take_head};
use crate::write::write_head;

/// Where a URL names no port.
const HTTP_PORT: u16 = 80;
/// How soon the kernel asks a silent peer whether it still lives.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Room for a read, at first; a stream's events fit many times.
const READ_BYTES: usize = 8 << 10;
/// Room for a read of a server that fills what there is.
const READ_BYTES_MAX: usize = 64 << 10;
/// Room that is worth a read.
const READ_BYTES_MIN: usize = 2 << 10;

/// A connection, and the request that is on it.
pub(crate) struct Connection {
    io: TcpStream,
    /// What was read and not yet taken.
    pub read: BytesMut,
    read_bytes: usize,
    head: Vec<u8>,
    head_written: usize,
    body: Bytes,
}

impl Connection {
    pub async fn open(to: &Authority, time_max: Duration) -> io::Result<Connection> {
        let host = to.host().trim_start_matches('[').trim_end_matches(']');
        let opening = TcpStream::connect((host, to.port_u16().unwrap_or(HTTP_PORT)));
        let late = || io::Error::new(ErrorKind::TimedOut, "it took too long");
        let io = tokio::time::timeout(time_max, opening).await.map_err(|_| late())??;
        io.set_nodelay(true)?;
        SockRef::from(&io).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        Ok(Connection {
            io,
            read: BytesMut::new(),
            read_bytes: READ_BYTES,
            head: Vec::new(),
            head_written: 0,
            body: Bytes::new(),
        })
    }

    /// Whether nothing came while it was idle: bytes nobody asked for, or its end.
    pub fn is_fresh(&self) -> bool {
        let nothing = self.io.try_read(&mut [0]);
        self.read.is_empty() && nothing.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether the whole request is written and the whole answer taken.
    pub fn is_idle(&self) -> bool {
        self.is_written() && self.read.is_empty()
    }

    fn is_written(&self) -> bool {
        self.head_written == self.head.len() && self.body.is_empty()
    }

    /// Sends a request and waits for the answer's head. A server may answer before it has read the whole body; what is
    /// left of it is written while the answer is read.
    pub async fn request(&mut self, head: &request::Parts, body: &Bytes) -> Result<Head, Error> {
        debug_assert!(self.is_idle(), "one request at a time");
        self.head.clear();
        self.head_written = 0;
        write_head(&mut self.head, head, body);
        self.body = body.clone();
        let mut answered = false;
        poll_fn(|cx| self.poll_head(cx, &head.method, &mut answered)).await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, method: &Method, came: &mut bool) -> Poll<Result<Head, Error>> {
        let written = self.poll_write(cx);
        loop {
            match self.poll_read(cx) {
                // What it said before it closed may still be there to read.
                Poll::Pending => match written {
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(broke(*came, Some(error)))),
                    _ => return Poll::Pending,
                },
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(broke(*came, None))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(broke(*came, Some(error)))),
                Poll::Ready(Ok(_)) => *came = true,
            }
            if let Some(head) = take_head(&mut self.read, method).transpose() {
                return Poll::Ready(head);
            }
        }
    }

    /// Writes on.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let slices = [IoSlice::new(&self.head[self.head_written..]), IoSlice::new(&self.body)];
            let slices = if slices[0].is_empty() { &slices[1..] } else { &slices[..] };
            let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(self.head.len() - self.head_written);
            self.head_written += of_head;
            self.body.advance(written - of_head);
        }
        self.body = Bytes::new();
        Poll::Ready(Ok(()))
    }

    /// Reads what there is; 0 is the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < READ_BYTES_MIN {
            self.read.reserve(self.read_bytes);
        }
        let room = self.read.capacity() - self.read.len();
        let read = ready!(pin!(self.io.read_buf(&mut self.read)).poll(cx))?;
        if read == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(read))
    }
}

fn broke(came: bool, error: Option<io::Error>) -> Error {
    match (came, error) {
        (false, error) => Error::Unanswered(error),
        (true, None) => Error::Short,
        (true, Some(error)) => Error::Io(error),
    }
}
