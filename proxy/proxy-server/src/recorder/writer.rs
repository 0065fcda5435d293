//! Writes what the recorder takes, batch by batch, off the async threads.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use policy_runtime::recording::{Encoder, EndReason};
use tokio::sync::oneshot;

use super::{Order, Recorder};

/// Orders carried out in one go.
const BATCH_ORDERS_MAX: usize = 256;
/// Kept of a recording's room for its last line.
const END_BYTES: u64 = 256;

/// Writes until nobody can order anything any more.
pub(crate) async fn write(recorder: Arc<Recorder>) {
    let taken = recorder.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let Some(mut orders) = taken else { return };
    let mut writer = Writer { recorder, open: None };
    let mut batch = Vec::with_capacity(BATCH_ORDERS_MAX);
    while orders.recv_many(&mut batch, BATCH_ORDERS_MAX).await > 0 {
        let carried_out = tokio::task::spawn_blocking(move || {
            let is_closed = writer.carry_out(&mut batch);
            (writer, batch, is_closed)
        });
        match carried_out.await {
            Ok((_, _, true)) => return,
            Ok((writer_back, batch_back, false)) => (writer, batch) = (writer_back, batch_back),
            Err(error) => {
                tracing::error!(%error, "the recorder failed");
                return;
            }
        }
    }
}

struct Writer {
    recorder: Arc<Recorder>,
    open: Option<Open>,
}

/// A recording that is being written.
struct Open {
    file: File,
    encoder: Encoder,
    buffer: Vec<u8>,
    written: u64,
    /// Bytes written and in the buffer.
    bytes: u64,
    bytes_max: u64,
}

impl Writer {
    /// Whether nothing comes after this batch.
    fn carry_out(&mut self, batch: &mut Vec<Order>) -> bool {
        let mut done: Vec<oneshot::Sender<()>> = Vec::new();
        let mut is_closed = false;
        for order in batch.drain(..) {
            match order {
                Order::Begin { file, header, bytes_max } => {
                    let (encoder, buffer) = Encoder::begin(*header);
                    let bytes = buffer.len() as u64;
                    self.open = Some(Open { file, encoder, buffer, written: 0, bytes, bytes_max });
                }
                Order::Write { record, bytes } => {
                    self.recorder.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    self.write(record);
                }
                Order::Flush(told) => done.push(told),
                Order::Close => is_closed = true,
                Order::End(told) => {
                    self.end(EndReason::Stopped);
                    done.push(told);
                }
            }
        }
        self.flush();
        for told in done {
            // Whoever asked may have left.
            let _ = told.send(());
        }
        is_closed
    }

    fn write(&mut self, record: policy_runtime::recording::Record) {
        let Some(open) = &mut self.open else { return };
        let dropped = self.recorder.dropped.swap(0, Ordering::Relaxed);
        let calls = open.encoder.calls();
        let mut lines = Vec::new();
        if dropped > 0 {
            lines.extend(open.encoder.gap(dropped));
            if self.recorder.is_on() {
                self.recorder.go_on();
            }
        }
        lines.extend(open.encoder.encode(record));
        if open.bytes + lines.len() as u64 + END_BYTES > open.bytes_max {
            open.encoder.take_back(calls);
            self.recorder.recording.store(0, Ordering::Relaxed);
            tracing::warn!("the recording is full (`recording.bytes_max`) and has ended");
            self.end(EndReason::Full);
            return;
        }
        open.bytes += lines.len() as u64;
        open.buffer.extend(lines);
    }

    fn end(&mut self, why: EndReason) {
        let Some(open) = &mut self.open else { return };
        let dropped = self.recorder.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            open.buffer.extend(open.encoder.gap(dropped));
        }
        open.buffer.extend(open.encoder.end(why));
        open.bytes = open.written + open.buffer.len() as u64;
        self.flush();
        self.open = None;
    }

    fn flush(&mut self) {
        let Some(open) = &mut self.open else { return };
        let written = open.file.write_all(&open.buffer);
        open.written += open.buffer.len() as u64;
        open.buffer.clear();
        let mut now = self.recorder.now();
        now.bytes = open.bytes;
        now.calls = open.encoder.calls();
        drop(now);
        if let Err(error) = written {
            tracing::error!(%error, "the recording cannot be written and has ended");
            self.recorder.recording.store(0, Ordering::Relaxed);
            self.open = None;
        }
    }
}
