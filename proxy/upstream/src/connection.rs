//! One connection of HTTP/1.1 to a server: what is still to be written, and what was read.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::UPGRADE;
use http::request;
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::error::Error;
use crate::head::{Asked, Head, take_head};
use crate::io::Io;
use crate::outgoing::Outgoing;
use crate::room::Place;
use crate::tls::is_tls;
use crate::write::{write_head, write_tail};

/// Room for a read, at first; a stream's events fit many times.
const READ_BYTES: usize = 8 << 10;
/// Room for a read of a server that fills what there is.
const READ_BYTES_MAX: usize = 64 << 10;
/// Room that is worth a read.
const READ_BYTES_MIN: usize = 2 << 10;

/// A connection, and the request that is on it.
pub(crate) struct Connection {
    pub io: Io,
    /// What was read and not yet taken.
    pub read: BytesMut,
    read_bytes: usize,
    head: Vec<u8>,
    head_written: usize,
    body: Bytes,
    /// What follows the body: the last chunk, and trailers.
    tail: Bytes,
    flushed: bool,
    pub place: Place,
}

impl Connection {
    pub fn new(io: Io, place: Place) -> Connection {
        Connection {
            io,
            read: BytesMut::new(),
            read_bytes: READ_BYTES,
            head: Vec::new(),
            head_written: 0,
            body: Bytes::new(),
            tail: Bytes::new(),
            flushed: true,
            place,
        }
    }

    /// Whether nothing came while it was idle: bytes nobody asked for, or its end.
    pub fn is_fresh(&mut self) -> bool {
        self.read.is_empty() && self.io.is_fresh()
    }

    /// Whether the whole request is written and the whole answer taken.
    pub fn is_idle(&self) -> bool {
        self.is_written() && self.flushed && self.read.is_empty()
    }

    fn is_written(&self) -> bool {
        self.head_written == self.head.len() && self.body.is_empty() && self.tail.is_empty()
    }

    /// Sends a request and waits for the answer's head. A server may answer before it has read the whole body; what is
    /// left of it is written while the answer is read.
    pub async fn request(&mut self, head: &request::Parts, body: &Outgoing) -> Result<Head, Error> {
        debug_assert!(self.is_idle(), "one request at a time");
        self.head.clear();
        self.head_written = 0;
        self.flushed = false;
        write_head(&mut self.head, head, body);
        self.body = body.data.clone();
        self.tail = write_tail(body);
        let mut answered = false;
        let asked = Asked { method: &head.method, to_switch: head.headers.contains_key(UPGRADE) };
        poll_fn(|cx| self.poll_head(cx, asked, &mut answered)).await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, asked: Asked<'_>, came: &mut bool) -> Poll<Result<Head, Error>> {
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
            match take_head(&mut self.read, asked) {
                Ok(None) => {}
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Err(_) if is_tls(&self.read) => {
                    return Poll::Ready(Err(Error::Broken("it speaks TLS; write https:// in its URL")));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes on.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let slices =
                [IoSlice::new(&self.head[self.head_written..]), IoSlice::new(&self.body), IoSlice::new(&self.tail)];
            let first = slices.iter().position(|slice| !slice.is_empty()).unwrap_or(0);
            let last = slices.iter().rposition(|slice| !slice.is_empty()).unwrap_or(0);
            let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices[first..=last]))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(self.head.len() - self.head_written);
            self.head_written += of_head;
            let of_body = (written - of_head).min(self.body.len());
            self.body.advance(of_body);
            self.tail.advance(written - of_head - of_body);
        }
        if !self.flushed {
            // What TLS has sealed may still wait for the socket.
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.flushed = true;
            (self.body, self.tail) = (Bytes::new(), Bytes::new());
        }
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
