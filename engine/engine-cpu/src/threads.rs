//! The threads that kernels run on: kept hot between two operations, parked when there is nothing to do.
//!
//! A job is a range of items. Each thread has a share of its own, the same in every job of the same size, and takes
//! from the others' when it is through. A thread that comes late finds the job closed and is not waited for. While a
//! job runs, other callers (and jobs inside the job) do their work alone: the results are the same.

mod lane;

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

pub(crate) use lane::Shared;
use lane::{JobSlot, Lane};

/// Rounds of looking for work between two looks at the clock.
const SPINS: u32 = 128;
/// Rounds of waiting for the others before the processor is offered to them.
const SPINS_BEFORE_YIELD: u32 = 4096;

/// How many threads, and how they wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadsConfig {
    /// The caller's included; at least one.
    pub count: usize,
    /// How long a thread looks for the next job before it parks. Longer than the pauses between a model's layers,
    /// shorter than what anybody would call load.
    pub spin: Duration,
    /// Whether each stays on its own processor.
    pub placement: Placement,
}

/// Where the threads run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Wherever the operating system likes.
    Free,
    /// Each of ours (not the caller) on one of the processors that this process may use.
    Pinned,
}

impl Default for ThreadsConfig {
    fn default() -> ThreadsConfig {
        ThreadsConfig { count: processors().len(), spin: Duration::from_micros(200), placement: Placement::Free }
    }
}

/// A pool. Dropped, its threads end before the drop returns.
#[derive(Debug)]
pub struct Threads {
    shared: Arc<SharedState>,
    handles: Vec<JoinHandle<()>>,
    threads: Vec<Thread>,
    /// Held by who gives a job.
    turn: Mutex<()>,
}

/// The pool that backends of this process share, as long as one of them lives.
static PROCESS: Mutex<Weak<Threads>> = Mutex::new(Weak::new());

/// A job as threads see it: borrowed from the caller, who waits.
type Job<'a> = dyn Fn(Range<usize>) + Sync + 'a;

#[derive(Debug)]
struct SharedState {
    /// See [`State`].
    state: AtomicU64,
    stop: AtomicBool,
    /// One for each thread, the caller's first.
    lanes: Box<[Lane]>,
    job: JobSlot,
    /// What a thread's part of the job died of.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    spin: Duration,
}

impl Threads {
    /// Starts them.
    pub fn new(config: ThreadsConfig) -> Threads {
        let ThreadsConfig { count, spin, placement } = config;
        let lanes = (0..count.max(1)).map(|_| Lane::default()).collect();
        let shared = Arc::new(SharedState {
            state: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            lanes,
            job: JobSlot::default(),
            panic: Mutex::new(None),
            spin,
        });
        let processors = processors();
        let start = |index: usize| {
            let shared = shared.clone();
            let processor = (placement == Placement::Pinned).then(|| processors[index % processors.len()]);
            let run = move || {
                processor.into_iter().for_each(pin);
                shared.serve(index);
            };
            std::thread::Builder::new().name(format!("engine-cpu-{index}")).spawn(run)
        };
        // With fewer threads than wanted, the caller does what they would have done.
        let handles: Vec<JoinHandle<()>> = (1..count.max(1)).map_while(|index| start(index).ok()).collect();
        let threads = handles.iter().map(|handle| handle.thread().clone()).collect();
        Threads { shared, handles, threads, turn: Mutex::new(()) }
    }

    /// The process's own, with the ordinary settings.
    pub fn of_process() -> Arc<Threads> {
        let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        process.upgrade().unwrap_or_else(|| {
            let threads = Arc::new(Threads::new(ThreadsConfig::default()));
            *process = Arc::downgrade(&threads);
            threads
        })
    }

    /// How many work on a job, the caller included.
    pub fn count(&self) -> usize {
        self.threads.len() + 1
    }

    /// Runs `job` over `0..items` in pieces of at most `grain` items; on the calling thread alone if that is one piece.
    pub(crate) fn split(&self, items: usize, grain: usize, job: impl Fn(Range<usize>) + Sync) {
        let grain = grain.max(1);
        if items <= grain || self.threads.is_empty() {
            return (0..items).step_by(grain).for_each(|start| job(start..items.min(start + grain)));
        }
        match self.turn.try_lock() {
            Ok(_turn) => self.run(items, grain, &job),
            // A job that panicked left nothing behind.
            Err(TryLockError::Poisoned(turn)) => {
                let _turn = turn.into_inner();
                self.run(items, grain, &job);
            }
            // Somebody else's job is under way, or this call is inside it.
            Err(TryLockError::WouldBlock) => {
                (0..items).step_by(grain).for_each(|start| job(start..items.min(start + grain)));
            }
        }
    }

    fn run(&self, items: usize, grain: usize, job: &Job<'_>) {
        let shared = &*self.shared;
        let count = self.count();
        for (index, lane) in shared.lanes[..count].iter().enumerate() {
            lane.open(items * index / count..items * (index + 1) / count);
        }
        // SAFETY: `closing` waits until nobody runs the job, before the borrow ends.
        unsafe { shared.job.set(job, grain, count) };
        let closing = Closing(shared);
        shared.state.store(State::opened_after(shared.state.load(Ordering::Relaxed)), Ordering::SeqCst);
        for (thread, lane) in self.threads.iter().zip(&shared.lanes[1..]) {
            if lane.parked.load(Ordering::SeqCst) {
                thread.unpark();
            }
        }
        shared.work(0, job, grain, count);
        drop(closing);
        if let Some(panic) = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.threads.iter().for_each(Thread::unpark);
        for handle in self.handles.drain(..) {
            // A thread catches its job's panics and hands them to the caller: it does not end by one.
            let _ = handle.join();
        }
    }
}

/// Closes the job and waits for those who are inside it, also when the caller's own part panics.
struct Closing<'a>(&'a SharedState);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.fetch_and(!State::OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        while State::active(state) > 0 {
            std::hint::spin_loop();
            spins += 1;
            if spins.is_multiple_of(SPINS_BEFORE_YIELD) {
                std::thread::yield_now();
            }
            state = self.0.state.load(Ordering::Acquire);
        }
    }
}

impl SharedState {
    /// A thread's life.
    fn serve(&self, index: usize) {
        let mut done = 0;
        while let Some(number) = self.wait(index, done) {
            done = number;
            // SAFETY: this thread entered the job, so the caller waits for it.
            let (job, grain, count) = unsafe { self.job.get() };
            let outcome = catch_unwind(AssertUnwindSafe(|| self.work(index, job, grain, count)));
            if let Err(panic) = outcome {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for a job after number `done` and enters it. None: the end.
    fn wait(&self, index: usize, done: u64) -> Option<u64> {
        let parked = &self.lanes[index].parked;
        let mut since = Instant::now();
        loop {
            for _ in 0..SPINS {
                if let Some(number) = self.enter(done) {
                    return Some(number);
                }
                std::hint::spin_loop();
            }
            if self.stop.load(Ordering::SeqCst) {
                return None;
            }
            if since.elapsed() < self.spin {
                continue;
            }
            parked.store(true, Ordering::SeqCst);
            // Looked at after telling: a job opened in between is either seen here or unparks.
            let entered = self.enter(done);
            if entered.is_none() && !self.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
            parked.store(false, Ordering::SeqCst);
            if entered.is_some() {
                return entered;
            }
            since = Instant::now();
        }
    }

    fn enter(&self, done: u64) -> Option<u64> {
        let mut state = self.state.load(Ordering::SeqCst);
        while State::is_open(state) && State::number(state) != done {
            match self.state.compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(State::number(state)),
                Err(now) => state = now,
            }
        }
        None
    }

    /// The own share, then what is left of the others'.
    fn work(&self, index: usize, job: &Job<'_>, grain: usize, count: usize) {
        for victim in (index..count).chain(0..index) {
            while let Some(piece) = self.lanes[victim].take(grain) {
                job(piece);
            }
        }
    }
}

/// A job's number, whether it may be entered, and how many have: in one word, so that entering and closing exclude
/// each other.
struct State;

impl State {
    const OPEN: u64 = 1 << 31;
    const NUMBER_ONE: u64 = 1 << 32;

    fn number(state: u64) -> u64 {
        state >> 32
    }

    fn is_open(state: u64) -> bool {
        state & State::OPEN != 0
    }

    fn active(state: u64) -> u64 {
        state & (State::OPEN - 1)
    }

    /// Numbers begin again after 2³² jobs; zero is left out, since threads begin with it.
    fn opened_after(state: u64) -> u64 {
        let next = (state & !(State::NUMBER_ONE - 1)).wrapping_add(State::NUMBER_ONE);
        next.max(State::NUMBER_ONE) | State::OPEN
    }
}

/// The processors that this process may use.
#[cfg(all(target_os = "linux", not(miri)))]
fn processors() -> Vec<usize> {
    // SAFETY: the set is plain bits, written by the call; reading a bit of it needs an index below its size.
    let allowed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let told = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) == 0;
        (0..libc::CPU_SETSIZE as usize).filter(|cpu| told && libc::CPU_ISSET(*cpu, &set)).collect::<Vec<_>>()
    };
    // A container's share may be less than the processors it sees.
    let share = std::thread::available_parallelism().map_or(1, usize::from);
    match allowed.is_empty() {
        true => (0..share).collect(),
        false => allowed.into_iter().take(share).collect(),
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn processors() -> Vec<usize> {
    (0..std::thread::available_parallelism().map_or(1, usize::from)).collect()
}

#[cfg(all(target_os = "linux", not(miri)))]
fn pin(processor: usize) {
    // SAFETY: the set is plain bits; `processor` came out of such a set. Refused, the thread runs where it likes.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn pin(_processor: usize) {}

#[cfg(test)]
mod tests;
