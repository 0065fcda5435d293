//! Spawns what runs beside the requests: each task has a name, hears of the shutdown, and has a bounded time to end.

use std::future::Future;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// So many tasks are no reason to look which have ended.
const PRUNE_AT_LEAST: usize = 64;

/// How a proxy ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nobody answers at its addresses any more.
    Stopped,
    /// Another process answers at its addresses from now on.
    HandedOver,
}

/// The proxy's background tasks.
pub(crate) struct Tasks {
    stop: watch::Sender<Option<Ending>>,
    /// The last request is over.
    over: watch::Sender<bool>,
    running: Mutex<Running>,
}

/// What was spawned, and how many of it make it time to drop what has ended.
#[derive(Default)]
struct Running {
    tasks: Vec<(String, JoinHandle<()>)>,
    prune_at: usize,
}

/// A task that ends when this is dropped.
pub(crate) struct Task(AbortHandle);

/// Tells a task, a connection or a stream that the proxy is stopping.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(watch::Receiver<Option<Ending>>);

impl Tasks {
    pub fn new() -> Tasks {
        Tasks { stop: watch::Sender::new(None), over: watch::Sender::new(false), running: Mutex::default() }
    }

    pub fn stopping(&self) -> Stopping {
        Stopping(self.stop.subscribe())
    }

    /// Runs `task` until it ends or the proxy's last request has, whichever is first.
    pub fn spawn(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        self.begin(name, task);
    }

    /// The same for a task that may be ended before.
    pub fn spawn_task(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(self.begin(name, task))
    }

    fn begin(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut over = self.over.subscribe();
        let handle = tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                // An error means that nobody is left to say so.
                _ = over.wait_for(|over| *over) => {}
            }
        });
        let abort = handle.abort_handle();
        self.note(name.into(), handle);
        abort
    }

    /// Runs `task` until it ends of itself, which it must soon after the proxy stopped.
    pub fn spawn_to_end(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        self.note(name.into(), tokio::spawn(task));
    }

    /// Tasks come and go with the fleet: what has ended is dropped before the list is twice as long.
    fn note(&self, name: String, handle: JoinHandle<()>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.tasks.len() >= running.prune_at {
            running.tasks.retain(|(_, handle)| !handle.is_finished());
            running.prune_at = (2 * running.tasks.len()).max(PRUNE_AT_LEAST);
        }
        running.tasks.push((name, handle));
    }

    /// Tells connections and streams to end. What serves their last requests goes on.
    pub fn begin_stop(&self, ending: Ending) {
        self.stop.send_replace(Some(ending));
    }

    /// Ends every task and waits for it, in all no longer than `limit`; aborts what has not ended by then.
    pub async fn end(&self, limit: Duration) {
        self.over.send_replace(true);
        let running = std::mem::take(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner).tasks);
        let deadline = tokio::time::Instant::now() + limit;
        for (name, mut handle) in running {
            match tokio::time::timeout_at(deadline, &mut handle).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.is_cancelled() => {}
                Ok(Err(error)) => tracing::error!(task = name, %error, "task failed"),
                Err(_) => {
                    tracing::warn!(task = name, "task did not end in time and was aborted");
                    handle.abort();
                }
            }
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stopping {
    /// Waits until the proxy begins to stop.
    pub async fn begun(mut self) -> Ending {
        // An error means that the sender is gone, which is a stop too.
        let begun = self.0.wait_for(Option::is_some).await.map(|ending| *ending);
        begun.ok().flatten().unwrap_or(Ending::Stopped)
    }

    /// How the proxy ends, once it does.
    pub fn ending(&self) -> Option<Ending> {
        *self.0.borrow()
    }
}
