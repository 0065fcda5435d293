//! When a server ends: SIGINT, SIGTERM, or, for a child that must not outlive its parent, the end of its stdin.

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

/// Waits until the server should end. Ready to be polled only inside the runtime.
pub(crate) async fn stop(on: StopOn) {
    match on {
        StopOn::Signals => signals().await,
        StopOn::SignalsOrStdinEnd => tokio::select! {
            () = signals() => (),
            () = stdin_end() => (),
        },
    }
}

async fn signals() {
    let mut interrupt = signal(SignalKind::interrupt()).expect("a runtime with IO can listen for SIGINT");
    let mut terminate = signal(SignalKind::terminate()).expect("a runtime with IO can listen for SIGTERM");
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
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
