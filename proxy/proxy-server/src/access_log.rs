//! Writes a line of JSON for each request of the data port that has ended, where the operator wants that.
//!
//! Requests never wait for the disk: lines that find no room in the queue are left out and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Lines that are written at once.
const BATCH_MAX: usize = 1024;

/// Where ended requests are noted.
pub(crate) struct AccessLog {
    lines: Option<Sender<Entry>>,
    lines_max: usize,
    dropped: AtomicU64,
    /// The file was moved away, perhaps: the next line goes to one of its name.
    reopen: AtomicBool,
}

/// What is taken from the queue: to be handed to [`AccessLog::keep`].
pub(crate) struct Writer {
    path: PathBuf,
    lines: Receiver<Entry>,
    file: File,
}

enum Entry {
    Line(Vec<u8>),
    /// The last line has been written.
    End,
}

/// One request, ended. docs/proxy.md tells of each field.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    /// When it came, in Unix milliseconds.
    pub time_ms: u64,
    pub request_id: Option<&'a str>,
    pub trace_id: Option<&'a str>,
    pub method: &'a str,
    pub path: &'a str,
    pub tenant: Option<&'a str>,
    pub model: Option<&'a str>,
    pub stream: bool,
    pub route: Option<&'a str>,
    pub outcome: &'static str,
    pub status: Option<u16>,
    /// Why it was turned away.
    pub error: Option<&'static str>,
    pub replica: Option<&'a str>,
    pub attempts: u32,
    pub prompt_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    pub decide_us: Option<u32>,
    pub ttft_ms: Option<f64>,
    pub duration_ms: f64,
}

impl AccessLog {
    /// Into this file, or into none.
    pub fn open(path: Option<&Path>, lines_max: usize) -> Result<(AccessLog, Option<Writer>), String> {
        let (sender, lines) = channel(lines_max);
        let writer = match path {
            None => None,
            Some(path) => {
                let file = open(path)
                    .map_err(|error| format!("the access log {} cannot be written: {error}", path.display()))?;
                Some(Writer { path: path.to_owned(), lines, file })
            }
        };
        let lines = writer.is_some().then_some(sender);
        Ok((AccessLog { lines, lines_max, dropped: AtomicU64::new(0), reopen: AtomicBool::new(false) }, writer))
    }

    /// Notes a request, if any is noted.
    pub fn note<'a>(&self, line: impl FnOnce() -> Line<'a>) {
        let Some(lines) = &self.lines else { return };
        let mut text = serde_json::to_vec(&line()).expect("texts and numbers always serialise");
        text.push(b'\n');
        if lines.try_send(Entry::Line(text)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the file anew before the next line: whoever rotates logs has moved it.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
    }

    /// After the last request; ends the writer.
    pub async fn close(&self) {
        if let Some(lines) = &self.lines {
            // A writer that has ended has nothing left to write.
            let _ = lines.send(Entry::End).await;
        }
    }

    /// Lines that wait to be written.
    pub fn waiting(&self) -> usize {
        self.lines.as_ref().map_or(0, |lines| lines.max_capacity() - lines.capacity())
    }

    pub fn waiting_max(&self) -> usize {
        self.lines_max
    }

    /// Lines that were left out.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes lines as they come, until the last one.
    pub async fn keep(&self, writer: Writer) {
        let Writer { path, mut lines, mut file } = writer;
        let mut batch = Vec::new();
        let mut is_over = false;
        while !is_over && lines.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let mut text = Vec::new();
            let mut count = 0;
            for entry in batch.drain(..) {
                match entry {
                    Entry::Line(line) => {
                        text.extend_from_slice(&line);
                        count += 1;
                    }
                    Entry::End => is_over = true,
                }
            }
            let anew = self.reopen.swap(false, Ordering::Relaxed).then(|| path.clone());
            match tokio::task::spawn_blocking(move || append(file, anew, &text)).await {
                Ok((kept, written)) => {
                    file = kept;
                    if let Err(error) = written {
                        tracing::error!(file = %path.display(), %error, lines = count, "the access log was not written");
                        self.dropped.fetch_add(count, Ordering::Relaxed);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "writing the access log broke; nothing is written from now on");
                    return;
                }
            }
        }
    }
}

fn append(mut file: File, anew: Option<PathBuf>, text: &[u8]) -> (File, io::Result<()>) {
    if let Some(path) = anew {
        match open(&path) {
            Ok(new) => file = new,
            Err(error) => return (file, Err(error)),
        }
    }
    let written = file.write_all(text);
    (file, written)
}

/// Who asks for what is not for everybody to read.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}
