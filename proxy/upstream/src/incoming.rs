//! The body of an answer, read from its connection as it is asked for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::uri::Authority;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::Error;
use crate::pool::Pool;
use crate::reader::{Reader, Step};

/// The body of an answer. Dropped before its end, it closes the connection, which tells the server to stop.
pub struct Incoming {
    /// `None` once the body has ended or broken.
    connection: Option<Connection>,
    reader: Reader,
    keep: bool,
    pool: Arc<Pool<Connection>>,
    to: Authority,
}

impl Incoming {
    pub(crate) fn new(
        connection: Connection,
        (reader, keep): (Reader, bool),
        pool: Arc<Pool<Connection>>,
        to: Authority,
    ) -> Incoming {
        let mut incoming = Incoming { connection: Some(connection), reader, keep, pool, to };
        incoming.end_if_over();
        incoming
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            // The rest of the request. A server that has answered need not read it.
            if let Poll::Ready(Err(_)) = connection.poll_write(cx) {
                self.keep = false;
            }
            match self.reader.step(&mut connection.read)? {
                Step::Frame(frame) => {
                    self.end_if_over();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Step::Over => self.end_if_over(),
                Step::More => {
                    if ready!(connection.poll_read(cx))? == 0 {
                        self.keep = false;
                        self.reader.end()?;
                        self.end_if_over();
                    }
                }
            }
        }
    }

    /// Gives the connection back when nothing of the answer is to come.
    fn end_if_over(&mut self) {
        if self.reader != Reader::Over {
            return;
        }
        let kept = self.connection.take().filter(|connection| self.keep && connection.is_idle());
        if let Some(connection) = kept {
            self.pool.put(self.to.as_str(), connection, Instant::now());
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("to", &self.to).field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = self.poll(cx);
        if let Poll::Ready(Some(Err(_))) = polled {
            self.connection = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.reader {
            Reader::Over => SizeHint::with_exact(0),
            Reader::Length(left) => SizeHint::with_exact(left),
            Reader::Chunked(_) | Reader::Close => SizeHint::default(),
        }
    }
}
