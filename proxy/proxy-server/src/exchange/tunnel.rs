//! Passes bytes both ways once a replica has switched to another protocol (101): WebSocket, or any other.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf, copy, split};
use tokio::time::Instant;

use crate::exchange::deadline::Deadline;
use crate::exchange::finish::{Journal, Outcome};
use crate::exchange::hops::{REQUEST_ID, connection_says, strip};
use crate::exchange::relay::ClientBody;
use crate::exchange::send::Answer;
use crate::listen::After;

/// A client that would switch.
pub(crate) struct Switching {
    /// What it names.
    pub protocol: HeaderValue,
    client: OnUpgrade,
    after: After,
}

impl Switching {
    /// `None` of a client that would not, or must not: HTTP/2 in the clear is spoken without asking, and whoever asks for
    /// it all the same would go around what is looked at here.
    pub fn of(request: &mut Request<Incoming>) -> Option<Switching> {
        let headers = request.headers();
        let mut named = headers.get_all(UPGRADE).iter();
        let protocol = named.next()?.clone();
        let is_one = named.next().is_none();
        let is_http = protocol.as_bytes().get(..2).is_some_and(|begin| begin.eq_ignore_ascii_case(b"h2"));
        if !is_one || is_http || !connection_says(headers, "upgrade") || request.version() != Version::HTTP_11 {
            return None;
        }
        let after = request.extensions().get::<After>()?.clone();
        let client = request.extensions_mut().remove::<OnUpgrade>()?;
        Some(Switching { protocol, client, after })
    }
}

/// Tells the client that the replica has switched, and passes bytes from then on.
pub(crate) fn tunnel(mut journal: Journal, answer: Answer, switching: Switching) -> Response<ClientBody> {
    let Answer { mut head, body, .. } = answer;
    let Switching { protocol, client, after } = switching;
    let protocol = head.headers.get(UPGRADE).cloned().unwrap_or(protocol);
    strip(&mut head.headers);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(UPGRADE, protocol);
    head.headers.entry(REQUEST_ID).or_insert_with(|| journal.request_id().clone());
    journal.add_headers(&mut head.headers);
    journal.relays(head.status);
    let replica = body.upgraded().expect("an answer of 101 is a switched connection");
    let (idle_max, deadline, status) = (journal.upgrade_idle_max(), journal.deadline(), head.status);
    after.goes_on(async move {
        let ended = match client.await {
            Ok(client) => pass(TokioIo::new(client), replica, idle_max, deadline).await,
            Err(_) => Ended::ClientBroke,
        };
        let outcome = match ended {
            Ended::Orderly | Ended::Silent | Ended::Late => Outcome::Finished,
            Ended::ClientBroke => Outcome::Cancelled,
            Ended::ReplicaBroke => {
                journal.died();
                Outcome::Failed
            }
        };
        tracing::debug!(?ended, request_id = ?journal.request_id(), "a switched connection ended");
        journal.close(outcome, Some(status), None);
    });
    Response::from_parts(head, ClientBody::Whole(None))
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Both sides have closed.
    Orderly,
    ClientBroke,
    ReplicaBroke,
    /// Nobody has said anything for too long.
    Silent,
    /// The request's time is over.
    Late,
}

async fn pass(
    client: impl AsyncRead + AsyncWrite + Unpin,
    replica: impl AsyncRead + AsyncWrite + Unpin,
    idle_max: Duration,
    deadline: Deadline,
) -> Ended {
    let heard = Heard { began: Instant::now(), last_ms: AtomicU64::new(0) };
    let (client_broke, replica_broke) = (AtomicBool::new(false), AtomicBool::new(false));
    let (client_says, client_hears) = split(Side { io: client, heard: &heard, broke: &client_broke });
    let (replica_says, replica_hears) = split(Side { io: replica, heard: &heard, broke: &replica_broke });
    let passed = tokio::select! {
        // A client that has said all may still be answered; a replica that has said all ends it.
        Err(broke) = one_way(client_says, replica_hears) => Err(broke),
        passed = one_way(replica_says, client_hears) => passed,
        ended = silence(&heard, idle_max, deadline) => return ended,
    };
    match passed {
        Ok(()) => Ended::Orderly,
        Err(_) if client_broke.load(Ordering::Relaxed) => Ended::ClientBroke,
        Err(_) => Ended::ReplicaBroke,
    }
}

/// Passes all that is said, and its end.
async fn one_way<F, T>(mut from: ReadHalf<F>, mut to: WriteHalf<T>) -> io::Result<()>
where
    F: AsyncRead,
    T: AsyncWrite,
{
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// Ends when nothing was heard for too long.
async fn silence(heard: &Heard, idle_max: Duration, deadline: Deadline) -> Ended {
    loop {
        let due = heard.last() + idle_max;
        tokio::time::sleep_until(deadline.or(due)).await;
        let now = Instant::now();
        if deadline.is_over(now) {
            return Ended::Late;
        }
        if heard.last() + idle_max <= now {
            return Ended::Silent;
        }
    }
}

/// When somebody said something.
struct Heard {
    began: Instant,
    last_ms: AtomicU64,
}

impl Heard {
    fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    fn note(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }
}

/// One side; takes note of what it says, and whether it broke.
struct Side<'a, T> {
    io: T,
    heard: &'a Heard,
    broke: &'a AtomicBool,
}

impl<T> Side<'_, T> {
    fn noted<R>(&self, polled: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        match &polled {
            Poll::Ready(Ok(_)) => self.heard.note(),
            Poll::Ready(Err(_)) => self.broke.store(true, Ordering::Relaxed),
            Poll::Pending => {}
        }
        polled
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Side<'_, T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.noted(polled)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Side<'_, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.noted(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        match polled {
            // Nothing was said by that.
            Poll::Ready(Ok(())) => polled,
            other => self.noted(other),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.noted(polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    async fn check(idle_max: Duration, both: impl AsyncFnOnce(DuplexStream, DuplexStream), expected: Ended) {
        let ((client, ours), (replica, theirs)) = (duplex(64), duplex(64));
        let passed = pass(ours, theirs, idle_max, Deadline::default());
        let (ended, ()) = tokio::join!(passed, both(client, replica));
        assert_eq!(ended, expected);
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_until_both_have_closed() {
        let talk = async |mut client: DuplexStream, mut replica: DuplexStream| {
            let (mut heard, mut answer) = ([0; 4], String::new());
            client.write_all(b"ping").await.unwrap();
            replica.read_exact(&mut heard).await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(replica.read(&mut [0]).await.unwrap(), 0, "one side's end is told to the other");
            // The other may still speak.
            replica.write_all(b"pong").await.unwrap();
            drop(replica);
            client.read_to_string(&mut answer).await.unwrap();
            assert_eq!((&heard, answer.as_str()), (b"ping", "pong"));
        };
        check(LONG, talk, Ended::Orderly).await;
    }

    #[tokio::test]
    async fn silence_ends_it() {
        let talk = async |mut client: DuplexStream, mut replica: DuplexStream| {
            client.write_all(b"x").await.unwrap();
            replica.read_exact(&mut [0]).await.unwrap();
            assert_eq!(replica.read(&mut [0]).await.unwrap(), 0);
        };
        check(Duration::from_millis(20), talk, Ended::Silent).await;
    }
}
