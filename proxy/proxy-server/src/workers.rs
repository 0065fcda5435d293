//! The threads that serve clients, each with a runtime of its own: a request, its policies and its replica's answer stay
//! on one thread, no other is woken for them, and what they touch stays in its core's caches.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Threads that wait for connections to serve. Dropped, they end, and what they serve with them.
pub(crate) struct Workers(Box<[Worker]>);

struct Worker {
    runtime: Handle,
    /// Connections that it serves.
    open: Arc<AtomicUsize>,
    /// Dropped, the thread ends.
    _stop: oneshot::Sender<()>,
}

/// One more connection of a worker, until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Workers {
    /// Starts so many threads.
    pub fn start(threads: usize) -> io::Result<Workers> {
        (0..threads.max(1)).map(Worker::start).collect::<io::Result<Box<[Worker]>>>().map(Workers)
    }

    /// Serves a connection on the thread that has the fewest; of equals, the first.
    pub fn serve<F>(&self, stream: std::net::TcpStream, serve: impl FnOnce(TcpStream) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let idlest = self.0.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed));
        let Worker { runtime, open, .. } = idlest.expect("there is one at least");
        open.fetch_add(1, Ordering::Relaxed);
        let open = Open(open.clone());
        runtime.spawn(async move {
            let _open = open;
            // Here, so that it is this thread that waits for it.
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(stream).await,
                Err(error) => tracing::warn!(%error, "a connection could not be waited for"),
            }
        });
    }
}

impl Worker {
    fn start(index: usize) -> io::Result<Worker> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name(format!("worker {index}")).spawn(move || {
            upstream::use_shard(index);
            // An error is the sender's end, which is what is waited for.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Worker { runtime: handle, open: Arc::default(), _stop: stop })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread::ThreadId;

    use super::*;

    /// Serves connections that stay open; the threads that they are served on.
    fn threads_of(workers: &Workers, connections: usize) -> Vec<ThreadId> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = mpsc::channel();
        (0..connections)
            .map(|_| {
                let _client = std::net::TcpStream::connect(address).unwrap();
                let (stream, _) = listener.accept().unwrap();
                stream.set_nonblocking(true).unwrap();
                let tell = tell.clone();
                workers.serve(stream, async move |stream| {
                    tell.send(thread::current().id()).unwrap();
                    let _stream = stream;
                    std::future::pending().await
                });
                told.recv().unwrap()
            })
            .collect()
    }

    #[test]
    fn connections_are_spread_evenly() {
        let workers = Workers::start(2).unwrap();
        let threads = threads_of(&workers, 4);
        assert_ne!(threads[0], threads[1]);
        assert_eq!(threads[..2], threads[2..]);
    }

    #[test]
    fn what_they_serve_ends_with_them() {
        let workers = Workers::start(1).unwrap();
        threads_of(&workers, 1);
        let open = workers.0[0].open.clone();
        drop(workers);
        while open.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
    }
}
