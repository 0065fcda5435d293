//! The body of an answer, read from its connection as it is asked for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::connection::Connection;
use crate::error::Error;
use crate::multiplexed::Stream;
use crate::reader::{Reader, Step};
use crate::server::Inner;
use crate::upgraded::Upgraded;

/// The body of an answer. Dropped before its end, it closes the connection, or its stream of HTTP/2, which tells the
/// server to stop.
#[derive(Debug)]
pub struct Incoming(Kind);

#[derive(Debug)]
enum Kind {
    /// The body has ended or broken.
    Over,
    One(One),
    Two(Box<Two>),
    /// The connection is another protocol's from now on.
    Switched(Box<Upgraded>),
}

/// Over HTTP/1.1.
struct One {
    connection: Box<Connection>,
    reader: Reader,
    keep: bool,
    server: Arc<Inner>,
}

/// Over HTTP/2.
#[derive(Debug)]
struct Two {
    body: hyper::body::Incoming,
    /// Counted among the connection's streams until the body ends.
    _stream: Stream,
}

impl Incoming {
    pub(crate) fn of_one(connection: Box<Connection>, reader: Reader, keep: bool, server: Arc<Inner>) -> Incoming {
        let mut incoming = Incoming(Kind::One(One { connection, reader, keep, server }));
        incoming.end_if_over();
        incoming
    }

    pub(crate) fn of_two(body: hyper::body::Incoming, stream: Stream) -> Incoming {
        match body.is_end_stream() {
            true => Incoming(Kind::Over),
            false => Incoming(Kind::Two(Box::new(Two { body, _stream: stream }))),
        }
    }

    pub(crate) fn switched(connection: Connection) -> Incoming {
        Incoming(Kind::Switched(Box::new(Upgraded::of(connection))))
    }

    /// The connection, where the server has switched it to another protocol (101).
    pub fn upgraded(self) -> Option<Upgraded> {
        match self.0 {
            Kind::Switched(upgraded) => Some(*upgraded),
            _ => None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Kind::Over | Kind::Switched(_) => Poll::Ready(None),
            Kind::One(one) => {
                let polled = ready!(one.poll(cx));
                self.end_if_over();
                Poll::Ready(polled)
            }
            Kind::Two(two) => {
                let frame = ready!(Pin::new(&mut two.body).poll_frame(cx));
                if frame.is_none() || two.body.is_end_stream() {
                    self.0 = Kind::Over;
                }
                Poll::Ready(frame.map(|frame| frame.map_err(|error| Error::Io(std::io::Error::other(error)))))
            }
        }
    }

    /// Gives the connection back when nothing of the answer is to come.
    fn end_if_over(&mut self) {
        if !matches!(&self.0, Kind::One(one) if one.reader == Reader::Over) {
            return;
        }
        if let Kind::One(One { connection, keep, server, .. }) = std::mem::replace(&mut self.0, Kind::Over)
            && keep
            && connection.is_idle()
        {
            server.keep(connection);
        }
    }
}

impl One {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            // The rest of the request. A server that has answered need not read it.
            if let Poll::Ready(Err(_)) = self.connection.poll_write(cx) {
                self.keep = false;
            }
            match self.reader.step(&mut self.connection.read)? {
                Step::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Step::Over => return Poll::Ready(None),
                Step::More => {
                    if ready!(self.connection.poll_read(cx))? == 0 {
                        self.keep = false;
                        self.reader.end()?;
                    }
                }
            }
        }
    }
}

impl fmt::Debug for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("One").field("reader", &self.reader).field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = self.poll(cx);
        if let Poll::Ready(Some(Err(_))) = polled {
            self.0 = Kind::Over;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Over | Kind::Switched(_))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Over | Kind::Switched(_) => SizeHint::with_exact(0),
            Kind::One(One { reader: Reader::Over, .. }) => SizeHint::with_exact(0),
            Kind::One(One { reader: Reader::Length(left), .. }) => SizeHint::with_exact(*left),
            Kind::One(One { reader: Reader::Chunked(_) | Reader::Close, .. }) => SizeHint::default(),
            Kind::Two(two) => two.body.size_hint(),
        }
    }
}
