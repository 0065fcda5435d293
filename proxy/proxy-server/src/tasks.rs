//! Spawns what runs beside the requests: each task has a name, hears of the shutdown, and has a bounded time to end.

use std::future::Future;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The proxy's background tasks.
pub(crate) struct Tasks {
    stop: watch::Sender<bool>,
    running: Mutex<Vec<(String, JoinHandle<()>)>>,
}

/// Tells a task, a connection or a stream that the proxy is stopping.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Tasks {
    pub fn new() -> Tasks {
        Tasks { stop: watch::Sender::new(false), running: Mutex::default() }
    }

    pub fn stopping(&self) -> Stopping {
        Stopping(self.stop.subscribe())
    }

    /// Runs `task` until it ends or the proxy stops, whichever is first.
    pub fn spawn(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping();
        let handle = tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                () = stopping.begun() => {}
            }
        });
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push((name.into(), handle));
    }

    /// Runs `task` until it ends of itself, which it must soon after the proxy stopped.
    pub fn spawn_to_end(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push((name.into(), handle));
    }

    /// Tells everybody to stop.
    pub fn begin_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for every task, in all no longer than `limit`; ends what has not ended by then.
    pub async fn end(&self, limit: Duration) {
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let deadline = tokio::time::Instant::now() + limit;
        for (name, mut handle) in running {
            match tokio::time::timeout_at(deadline, &mut handle).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(task = name, %error, "task failed"),
                Err(_) => {
                    tracing::warn!(task = name, "task did not end in time and was aborted");
                    handle.abort();
                }
            }
        }
    }
}

impl Stopping {
    /// Waits until the proxy begins to stop.
    pub async fn begun(mut self) {
        // An error means that the sender is gone, which is a stop too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    pub fn is_begun(&self) -> bool {
        *self.0.borrow()
    }
}
