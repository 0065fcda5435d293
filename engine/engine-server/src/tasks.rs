//! Starts the one thread that is not tokio's, and says when it has ended.

use std::thread;

use tokio::sync::oneshot;

use crate::Error;

/// Resolves when the thread ends.
pub(crate) struct Ending(oneshot::Receiver<Result<(), Error>>);

/// Runs `body` on a thread with a name. It must end by itself once its inbox is closed.
pub(crate) fn thread(name: &str, body: impl FnOnce() -> Result<(), Error> + Send + 'static) -> Result<Ending, Error> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody may be left to listen: then the ending is of no interest.
            let _ = sender.send(body());
        })
        .map_err(Error::Thread)?;
    Ok(Ending(receiver))
}

impl Ending {
    /// What the thread ended with; a panic drops the sender.
    pub async fn wait(&mut self) -> Result<(), Error> {
        (&mut self.0).await.unwrap_or(Err(Error::DriverPanicked))
    }
}
