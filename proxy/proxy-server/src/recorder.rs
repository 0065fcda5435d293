//! Records policies' calls into a file: taken on the data path without waiting, written by one task beside it.

mod writer;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use policy_runtime::recording::{FORMAT, Header, ReadError, Record, excerpt};
use thiserror::Error;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;

pub(crate) use writer::write;

/// Bytes that waiting records may keep alive, prompts above all.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// Where recordings go, and how large one may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recording {
    pub folder: PathBuf,
    pub bytes_max: u64,
    /// Whether prompts are recorded where nobody says otherwise.
    pub prompts: bool,
}

/// Takes records.
pub(crate) struct Recorder {
    /// Which recording is being written, counted from 1; 0 for none.
    recording: AtomicU64,
    /// Recordings begun, and times that one went on after a gap.
    begun: AtomicU64,
    queue: Sender<Order>,
    /// The other end, until the writer takes it.
    orders: Mutex<Option<Receiver<Order>>>,
    waiting_bytes: AtomicU64,
    /// Records that did not fit in the queue and of which the file does not say so yet.
    dropped: AtomicU64,
    now: Mutex<Progress>,
    /// One beginning or end at a time.
    changing: tokio::sync::Mutex<()>,
    /// One reader of a whole file at a time.
    reading: tokio::sync::Mutex<()>,
}

/// How far the recording is, or the last one was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub file: Option<PathBuf>,
    pub prompts: bool,
    pub bytes: u64,
    pub bytes_max: u64,
    pub calls: u64,
    pub dropped: u64,
}

/// What the writer is to do, in this order.
enum Order {
    Begin {
        file: File,
        header: Box<Header>,
        bytes_max: u64,
    },
    Write {
        record: Record,
        bytes: u64,
    },
    /// Everything before this is in the file.
    Flush(oneshot::Sender<()>),
    End(oneshot::Sender<()>),
    /// Nothing comes after this.
    Close,
}

/// Why no recording was begun, or none could be read.
#[derive(Debug, Error)]
pub(crate) enum RecorderError {
    #[error("no folder for recordings is configured: set `folder` under [recording] and start the proxy again")]
    NoFolder,
    #[error("a recording is being written already; stop it first")]
    AlreadyOn,
    #[error("cannot write a recording to {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the recorder has ended: the proxy is stopping")]
    Ended,
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: ReadError },
}

impl Recorder {
    /// A recorder that is off. `queue_max` records may wait to be written.
    pub fn new(queue_max: usize) -> Recorder {
        let (queue, orders) = mpsc::channel(queue_max);
        Recorder {
            recording: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            queue,
            orders: Mutex::new(Some(orders)),
            waiting_bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            now: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// Which recording is being written; 0 for none. Read before every call of a policy.
    pub fn recording(&self) -> u64 {
        self.recording.load(Ordering::Relaxed)
    }

    pub fn is_on(&self) -> bool {
        self.recording() > 0
    }

    /// Takes a record; drops it and counts that when too much waits. Never waits.
    pub fn record(&self, record: Record) {
        let bytes = record.bytes() as u64;
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = waiting + bytes <= WAITING_BYTES_MAX;
        if !fits || self.queue.try_send(Order::Write { record, bytes }).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.now().dropped += 1;
        }
    }

    /// Begins a recording in a new file of the folder.
    pub async fn begin(
        &self,
        to: Option<&Recording>,
        prompts: Option<bool>,
        limits: &policy_runtime::Limits,
        now_unix_ms: u64,
    ) -> Result<(), RecorderError> {
        let Recording { folder, bytes_max, prompts: prompts_by_default } = to.ok_or(RecorderError::NoFolder)?;
        let _changing = self.changing.lock().await;
        if self.is_on() {
            return Err(RecorderError::AlreadyOn);
        }
        let prompts = prompts.unwrap_or(*prompts_by_default);
        let path = folder.join(format!("{now_unix_ms}.jsonl"));
        let file = create(&path).map_err(|source| RecorderError::Write { path: path.clone(), source })?;
        let header = Box::new(Header {
            format: FORMAT,
            contract: policy_runtime::CONTRACT.to_owned(),
            written_by: format!("headworks {}", env!("CARGO_PKG_VERSION")),
            started_unix_ms: now_unix_ms,
            prompts,
            limits: limits.clone(),
        });
        self.dropped.store(0, Ordering::Relaxed);
        let bytes_max = *bytes_max;
        *self.now() = Progress { file: Some(path), prompts, bytes_max, ..Progress::default() };
        self.send(Order::Begin { file, header, bytes_max }).await?;
        self.go_on();
        Ok(())
    }

    /// Policies that keep state tell it anew from here on: what was known of it is no longer.
    fn go_on(&self) {
        self.recording.store(self.begun.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Ends the recording, if there is one, and returns when its file is whole.
    pub async fn end(&self) {
        let _changing = self.changing.lock().await;
        self.recording.store(0, Ordering::Relaxed);
        let (done, is_done) = oneshot::channel();
        if self.send(Order::End(done)).await.is_ok() {
            // An error means that the writer is gone, and its file with it.
            let _ = is_done.await;
        }
    }

    /// Ends the recording and the writer.
    pub async fn close(&self) {
        self.end().await;
        // An error means that it has ended already.
        let _ = self.send(Order::Close).await;
    }

    /// How far the recording is.
    pub fn progress(&self) -> Progress {
        self.now().clone()
    }

    /// Records that wait to be written.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// A recording of one request's calls, taken out of the current or last one; none where it has none of them.
    pub async fn excerpt(&self, request: u64) -> Result<Option<Vec<u8>>, RecorderError> {
        let Some(path) = self.progress().file else { return Ok(None) };
        let _reading = self.reading.lock().await;
        self.flush().await;
        tokio::task::spawn_blocking(move || read_excerpt(&path, request)).await.map_err(|_| RecorderError::Ended)?
    }

    /// The current or last recording's file, with everything in it that was recorded before.
    pub async fn open(&self) -> Result<Option<tokio::fs::File>, RecorderError> {
        let Some(path) = self.progress().file else { return Ok(None) };
        self.flush().await;
        let opened = tokio::fs::File::open(&path).await;
        opened.map(Some).map_err(|error| RecorderError::Read { path, source: error.into() })
    }

    async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        if self.send(Order::Flush(done)).await.is_ok() {
            // An error means that the writer is gone: the file is as whole as it will ever be.
            let _ = is_done.await;
        }
    }

    async fn send(&self, order: Order) -> Result<(), RecorderError> {
        self.queue.send(order).await.map_err(|_| RecorderError::Ended)
    }

    fn now(&self) -> MutexGuard<'_, Progress> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new file that only its owner may read: a recording says who asks for what.
fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn read_excerpt(path: &Path, request: u64) -> Result<Option<Vec<u8>>, RecorderError> {
    let wrong = |source: ReadError| RecorderError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(|error| wrong(error.into()))?;
    let mut lines = Vec::new();
    let found = excerpt(BufReader::new(file), request, &mut lines).map_err(wrong)?;
    Ok((found > 0).then_some(lines))
}

#[cfg(test)]
mod tests;
