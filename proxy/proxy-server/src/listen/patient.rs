//! A connection that gives up on a client that reads nothing of what it is sent, and that gives back what was read ahead.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::Sleep;

/// Breaks off when a write has waited too long: else the request behind it, and the replica's work, would wait with it.
pub(super) struct Patient<T> {
    io: T,
    /// Read ahead of the server.
    unread: Bytes,
    wait_max: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T: Unpin> Patient<T> {
    pub fn new(io: T, unread: Bytes, wait_max: Duration) -> Patient<T> {
        Patient { io, unread, wait_max, waiting: None }
    }

    fn wait<R>(&mut self, cx: &mut Context<'_>, polled: Poll<Result<R, Error>>) -> Poll<Result<R, Error>> {
        if polled.is_ready() {
            self.waiting = None;
            return polled;
        }
        let wait_max = self.wait_max;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait_max)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client reads nothing")))
    }
}

impl<T: Read + Unpin> Read for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<Result<(), Error>> {
        if !self.unread.is_empty() {
            let fits = buf.remaining().min(self.unread.len());
            buf.put_slice(&self.unread.split_to(fits));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: Write + Unpin> Write for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, Error>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wait(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wait(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.wait(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.wait(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn write(patient: &mut Patient<TokioIo<tokio::io::DuplexStream>>) -> Result<usize, ErrorKind> {
        poll_fn(|cx| Pin::new(&mut *patient).poll_write(cx, &[0; 16])).await.map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (mut client, server) = tokio::io::duplex(16);
        let mut patient = Patient::new(TokioIo::new(server), Bytes::new(), Duration::from_millis(50));
        assert_eq!(write(&mut patient).await, Ok(16));
        client.read_exact(&mut [0; 16]).await.unwrap();
        assert_eq!(write(&mut patient).await, Ok(16), "one that reads is not");
        assert_eq!(write(&mut patient).await, Err(ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first() {
        let (mut client, server) = tokio::io::duplex(16);
        client.write_all(b"cd").await.unwrap();
        drop(client);
        let patient = Patient::new(TokioIo::new(server), Bytes::from_static(b"ab"), Duration::from_millis(50));
        let mut text = String::new();
        TokioIo::new(patient).read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "abcd");
    }
}
