//! The body of a request: all of its bytes, and perhaps trailers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// A whole body.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// Its bytes.
    pub data: Bytes,
    /// What follows them. With trailers a body goes in chunks over HTTP/1.1, else with its length.
    pub trailers: Option<Box<HeaderMap>>,
}

impl From<Bytes> for Outgoing {
    fn from(data: Bytes) -> Outgoing {
        Outgoing { data, trailers: None }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.data.is_empty() {
            let data = std::mem::take(&mut self.data);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(*trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}
