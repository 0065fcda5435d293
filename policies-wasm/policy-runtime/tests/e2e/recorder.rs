//! A host that records, and recordings made of what it heard.

use std::{
    io::Cursor,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use policy_runtime::{
    CONTRACT, Host, Level, Limits,
    recording::{Encoder, EndReason, FORMAT, Header, Record, Recording},
};

/// Keeps what is recorded.
#[derive(Default)]
pub struct Recorder {
    pub is_on: AtomicBool,
    records: Mutex<Vec<Record>>,
}

impl Host for Recorder {
    fn now_ms(&self) -> u64 {
        0
    }
    fn log(&self, _slot: &str, _level: Level, _line: &str) {}
    fn count(&self, _slot: &str, _name: &str, _delta: u64) {}
    fn gauge(&self, _slot: &str, _name: &str, _value: f64) {}

    fn recording(&self) -> u64 {
        u64::from(self.is_on.load(Relaxed))
    }

    fn record(&self, record: Record) {
        self.records.lock().unwrap().push(record);
    }
}

impl Recorder {
    /// What was recorded since the last time, as a file.
    pub fn file(&self, limits: &Limits, prompts: bool) -> String {
        let header = Header {
            format: FORMAT,
            contract: CONTRACT.to_owned(),
            written_by: "a test".to_owned(),
            started_unix_ms: 0,
            prompts,
            limits: limits.clone(),
        };
        let (mut encoder, mut file) = Encoder::begin(header);
        for record in std::mem::take(&mut *self.records.lock().unwrap()) {
            file.extend(encoder.encode(record));
        }
        file.extend(encoder.end(EndReason::Stopped));
        String::from_utf8(file).unwrap()
    }
}

#[track_caller]
pub fn read(file: &str) -> Recording {
    Recording::read(Cursor::new(file)).unwrap_or_else(|error| panic!("{error}"))
}
