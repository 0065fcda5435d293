//! One connection of the load: a request at a time, and what its answer was.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use crate::http::Body;

/// Headers of one answer.
const HEADERS_MAX: usize = 64;
/// A head that is longer is no answer.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What an answer must be to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// 200 with a body of so many bytes.
    Bytes(usize),
    /// 200 with so many events.
    Events(u32),
}

/// What came of an event of the socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Nothing,
    /// The answer was as expected.
    Finished {
        latency: Duration,
    },
    /// It was not; the connection is of no more use.
    Failed(String),
}

pub(super) struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    begun: Instant,
    /// Bytes of a head that is not whole yet.
    head: Vec<u8>,
    answer: Option<Answer>,
    /// Events since they were last taken.
    events_new: u32,
}

/// An answer whose head was read.
struct Answer {
    status: u16,
    body: Body,
    seen: Seen,
}

/// What of the body was seen.
#[derive(Default)]
struct Seen {
    bytes: usize,
    events: u32,
    /// The last byte ended a line.
    at_line: bool,
}

impl Seen {
    /// Counts bytes, and empty lines, which end events.
    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        for byte in bytes {
            let newline = *byte == b'\n';
            self.events += u32::from(newline && self.at_line);
            self.at_line = newline;
        }
    }
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Connection {
        let begun = Instant::now();
        Connection { stream, out: Vec::new(), sent: 0, begun, head: Vec::new(), answer: None, events_new: 0 }
    }

    /// Begins a request.
    pub(super) fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out);
        self.sent = 0;
        self.begun = Instant::now();
        // What the socket does not take now goes out when it is writable; an error is seen when reading.
        let _ = self.flush();
    }

    pub(super) fn take_events(&mut self) -> u32 {
        std::mem::take(&mut self.events_new)
    }

    /// Writes and reads what it can.
    pub(super) fn turn(&mut self, buffer: &mut [u8], expected: Expected) -> Happened {
        if let Err(error) = self.flush() {
            return failed("write", &error);
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return self.closed(expected),
                Ok(count) => match self.take(&buffer[..count], expected) {
                    // A short read leaves nothing behind; what comes later is told anew.
                    Happened::Nothing if count == buffer.len() => {}
                    happened => return happened,
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Happened::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return failed("read", &error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, read: &[u8], expected: Expected) -> Happened {
        let joined;
        let mut rest = read;
        if !self.head.is_empty() {
            self.head.extend_from_slice(read);
            joined = std::mem::take(&mut self.head);
            rest = &joined;
        }
        if self.answer.is_none() {
            match head(rest) {
                Err(error) => return Happened::Failed(format!("no HTTP answer: {error}")),
                Ok(None) if rest.len() > HEAD_BYTES_MAX => return Happened::Failed("a head without end".to_owned()),
                Ok(None) => {
                    self.head = rest.to_vec();
                    return Happened::Nothing;
                }
                Ok(Some((taken, status, body))) => {
                    rest = &rest[taken..];
                    self.answer = Some(Answer { status, body, seen: Seen::default() });
                }
            }
        }
        let Some(Answer { body, seen, .. }) = &mut self.answer else { return Happened::Nothing };
        let events_before = seen.events;
        let taken = match body.feed(rest, |bytes| seen.take(bytes)) {
            Err(_) => return Happened::Failed("malformed chunks".to_owned()),
            Ok(taken) => taken,
        };
        self.events_new += seen.events - events_before;
        if taken < rest.len() {
            return Happened::Failed("bytes behind the answer".to_owned());
        }
        if body.is_done() { self.finish(expected) } else { Happened::Nothing }
    }

    fn closed(&mut self, expected: Expected) -> Happened {
        match &self.answer {
            Some(Answer { body: Body::UntilClose, .. }) => match self.finish(expected) {
                Happened::Finished { .. } => Happened::Failed("closed after the answer".to_owned()),
                happened => happened,
            },
            Some(_) => Happened::Failed("closed within the answer".to_owned()),
            None => Happened::Failed("closed before the answer".to_owned()),
        }
    }

    fn finish(&mut self, expected: Expected) -> Happened {
        let latency = self.begun.elapsed();
        let Some(Answer { status, seen, .. }) = self.answer.take() else { return Happened::Nothing };
        let wrong = match expected {
            _ if status != 200 => Some(format!("status {status}")),
            Expected::Bytes(bytes) if seen.bytes != bytes => Some(format!("{} bytes instead of {bytes}", seen.bytes)),
            // [DONE] is the one more.
            Expected::Events(events) if seen.events != events + 1 => {
                Some(format!("{} events instead of {}", seen.events, events + 1))
            }
            Expected::Bytes(_) | Expected::Events(_) => None,
        };
        wrong.map_or(Happened::Finished { latency }, Happened::Failed)
    }
}

fn failed(what: &str, error: &io::Error) -> Happened {
    Happened::Failed(format!("{what}: {}", error.kind()))
}

/// The head's length, the status and the body it announces; `None` while it is not whole.
fn head(bytes: &[u8]) -> Result<Option<(usize, u16, Body)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
    let body = Body::of(response.headers).unwrap_or(Body::UntilClose);
    Ok(Some((length, response.code.unwrap_or_default(), body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_however_they_are_cut() {
        let text = "data: a\n\ndata: b\n\ndata: [DONE]\n\n";
        for cut in 0..text.len() {
            let mut seen = Seen::default();
            seen.take(&text.as_bytes()[..cut]);
            seen.take(&text.as_bytes()[cut..]);
            assert_eq!((seen.events, seen.bytes), (3, text.len()), "cut at {cut}");
        }
    }
}
