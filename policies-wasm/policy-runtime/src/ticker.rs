//! Moves the engine's epoch once a millisecond while calls run, so that a call which does not end is interrupted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::Engine;

/// One tick.
const TICK: Duration = Duration::from_millis(1);

/// Ticks without a call before the thread parks. Long enough that a busy proxy never pays for waking it.
const IDLE_TICKS_MAX: u32 = 200;

/// A call that may run longer says so throughout; the ticks that follow its beginning are enough for any other.
const SHORT_MS_MAX: u32 = IDLE_TICKS_MAX / 2;

/// The epoch's thread; it ends when this is dropped.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    /// A call has begun since the last tick. Calls look before they write: one of them writes in a millisecond, and the
    /// others do not take the cache line from each other's cores.
    begun: AtomicBool,
    /// Long calls that are going on.
    running: AtomicU32,
    parked: AtomicBool,
    ended: AtomicBool,
}

/// Keeps the epoch moving while a long call runs.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let engine = engine.weak();
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("policy-epochs".to_owned()).spawn(move || {
            let mut idle_ticks = 0;
            while !theirs.ended.load(SeqCst) {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
                drop(engine);
                theirs.wait(&mut idle_ticks);
            }
        })?;
        Ok(Ticker { shared, thread: thread.thread().clone() })
    }

    /// A call begins that may run so long; what this answers is to be held throughout.
    pub(crate) fn watch(&self, deadline_ms: u32) -> Option<Running<'_>> {
        let running = (deadline_ms > SHORT_MS_MAX).then(|| Running::new(&self.shared));
        self.keep_on();
        running
    }

    /// The epoch moves from now on for a while.
    pub(crate) fn keep_on(&self) {
        if self.shared.begun.load(SeqCst) {
            return;
        }
        self.shared.begun.store(true, SeqCst);
        // The thread says that it parks before it looks for calls a last time, so one of the two sees the other.
        if self.shared.parked.load(SeqCst) {
            self.thread.unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        self.thread.unpark();
    }
}

impl<'a> Running<'a> {
    fn new(shared: &'a Shared) -> Running<'a> {
        shared.running.fetch_add(1, SeqCst);
        Running(shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl Shared {
    fn wait(&self, idle_ticks: &mut u32) {
        if self.begun.swap(false, SeqCst) || self.running.load(SeqCst) > 0 {
            *idle_ticks = 0;
        } else {
            *idle_ticks += 1;
        }
        if *idle_ticks < IDLE_TICKS_MAX {
            thread::sleep(TICK);
            return;
        }
        self.parked.store(true, SeqCst);
        while !self.begun.load(SeqCst) && !self.ended.load(SeqCst) {
            thread::park();
        }
        self.parked.store(false, SeqCst);
        *idle_ticks = 0;
    }
}
