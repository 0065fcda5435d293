//! Takes connections, at most so many at once, and lets them finish when the server stops.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// The open connections of one listener.
pub(crate) struct Connections {
    pub routes: Router,
    pub permits: Arc<Semaphore>,
    pub head_bounds: HeadBounds,
    pub graceful: GracefulShutdown,
    pub tasks: JoinSet<()>,
}

/// A request head's bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadBounds {
    pub bytes_max: usize,
    pub headers_max: usize,
    pub wait_max: Duration,
}

/// How long to leave a listener alone that cannot give connections: most often the process is out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Connections {
    pub fn new(routes: Router, permits: Arc<Semaphore>, head_bounds: HeadBounds) -> Connections {
        Connections { routes, permits, head_bounds, graceful: GracefulShutdown::new(), tasks: JoinSet::new() }
    }

    /// Takes connections until `stop`. Dropping the future loses none that was taken.
    pub async fn take<T>(&mut self, listener: &TcpListener, stop: impl Future<Output = T>) -> T {
        tokio::pin!(stop);
        loop {
            let permit = self.permits.clone().acquire_owned();
            let accepted = async {
                let permit = permit.await.expect("the semaphore is never closed");
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                reason = &mut stop => return reason,
                accepted = accepted => accepted,
                Some(_) = self.tasks.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => self.serve(stream, permit),
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(&mut self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays with Nagle's algorithm");
        }
        let service = TowerToHyperService::new(self.routes.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_bounds.wait_max)
            .max_headers(self.head_bounds.headers_max)
            .max_buf_size(self.head_bounds.bytes_max)
            .serve_connection(TokioIo::new(stream), service);
        let connection = self.graceful.watch(connection);
        self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(permit);
        });
    }

    /// Lets the open requests finish, for at most `wait_max`, then cuts them off. How many were cut off.
    pub async fn finish(mut self, wait_max: Duration) -> usize {
        let finished = tokio::time::timeout(wait_max, self.graceful.shutdown()).await.is_ok();
        while self.tasks.try_join_next().is_some() {}
        let cut_off = if finished { 0 } else { self.tasks.len() };
        self.tasks.shutdown().await;
        cut_off
    }
}
