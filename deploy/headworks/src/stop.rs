//! When a server ends: SIGINT, SIGTERM, or, for a child that must not outlive its parent, the end of its stdin.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// What ends the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopOn {
    Signals,
    SignalsOrStdinEnd,
}

impl StopOn {
    pub(crate) fn of(until_stdin_ends: bool) -> StopOn {
        if until_stdin_ends { StopOn::SignalsOrStdinEnd } else { StopOn::Signals }
    }
}

/// Waits until the server should end. To be called inside the runtime: from the call on, not only from the first poll,
/// the signals no longer end the process.
pub(crate) fn stop(on: StopOn) -> impl Future<Output = ()> + use<> {
    let mut interrupt = signal(SignalKind::interrupt()).expect("a runtime with IO can listen for SIGINT");
    let mut terminate = signal(SignalKind::terminate()).expect("a runtime with IO can listen for SIGTERM");
    async move {
        let stdin_end = async {
            match on {
                StopOn::Signals => std::future::pending().await,
                StopOn::SignalsOrStdinEnd => stdin_end().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
            () = stdin_end => (),
        }
    }
}

/// A thread of its own reads: a runtime cannot be dropped while one of its own waits for stdin.
async fn stdin_end() {
    let (ended, end) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        // An error is an end too: there is no parent to hear from.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(ended);
    });
    // What the channel says is only that the thread is done.
    let _ = end.await;
}
