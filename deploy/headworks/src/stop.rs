//! When a server ends: SIGINT, SIGTERM, or, for a child that must not outlive its parent, the end of its stdin.

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

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

async fn stdin_end() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    // An error is an end too: there is no parent to hear from.
    while matches!(stdin.read(&mut ignored).await, Ok(1..)) {}
}
