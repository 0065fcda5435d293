//! Moves the engine's epoch once a millisecond while calls run, so that a call which does not end is interrupted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::Engine;

/// One tick.
const TICK: Duration = Duration::from_millis(1);

/// Ticks without a call before the thread parks. Long enough that a busy proxy never pays for waking it.
const IDLE_TICKS_MAX: u32 = 200;

/// The epoch's thread; it ends when this is dropped.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    running: AtomicU32,
    started: AtomicU64,
    parked: AtomicBool,
    ended: AtomicBool,
}

/// Keeps the epoch moving while a call runs.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let engine = engine.weak();
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("policy-epochs".to_owned()).spawn(move || {
            let mut idle = Idle::default();
            while !theirs.ended.load(SeqCst) {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
                drop(engine);
                theirs.wait(&mut idle);
            }
        })?;
        Ok(Ticker { shared, thread: thread.thread().clone() })
    }

    /// To be held throughout a call.
    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.started.fetch_add(1, SeqCst);
        self.shared.running.fetch_add(1, SeqCst);
        // The thread says that it parks before it looks for calls a last time, so one of the two sees the other.
        if self.shared.parked.load(SeqCst) {
            self.thread.unpark();
        }
        Running(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

/// How long there was no call.
#[derive(Default)]
struct Idle {
    ticks: u32,
    started_last: u64,
}

impl Shared {
    fn wait(&self, idle: &mut Idle) {
        let started = self.started.load(SeqCst);
        if self.running.load(SeqCst) > 0 || started != idle.started_last {
            *idle = Idle { ticks: 0, started_last: started };
        } else {
            idle.ticks += 1;
        }
        if idle.ticks < IDLE_TICKS_MAX {
            thread::sleep(TICK);
            return;
        }
        self.parked.store(true, SeqCst);
        while self.started.load(SeqCst) == idle.started_last && !self.ended.load(SeqCst) {
            thread::park();
        }
        self.parked.store(false, SeqCst);
        idle.ticks = 0;
    }
}
