//! What a connection goes on with once it has left HTTP (101).

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection's place for it. The connection's own task runs it, so that it counts as one until it ends, and is
/// waited for at a stop.
#[derive(Clone, Default)]
pub(crate) struct After(Arc<Mutex<Option<Task>>>);

impl After {
    /// The connection goes on with this.
    pub fn goes_on(&self, task: impl Future<Output = ()> + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(task));
    }

    pub(super) fn take(&self) -> Option<Task> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
