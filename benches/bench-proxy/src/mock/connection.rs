//! One connection to a replica: reads requests, and writes answers as far as the socket takes them.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use super::answers::{Answer, Bytes, other};
use crate::http::Body;

/// Headers of one request.
const HEADERS_MAX: usize = 64;

pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes of a head that is not whole yet.
    head: Vec<u8>,
    reading: Reading,
    /// What the socket did not take yet.
    out: Vec<u8>,
    /// Events sent of the stream that is being answered.
    streaming: Option<u32>,
    /// Told from others that had this place before.
    id: u64,
}

/// How a turn of a stream went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    More,
    /// The reader is slow: the stream goes on when [`Connection::flush`] says so.
    Blocked,
    Ended,
}

enum Reading {
    Head,
    Body { body: Body, path: Path },
}

#[derive(Clone)]
enum Path {
    Completion,
    Other(Vec<u8>),
}

/// What the server does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    Close,
    /// Begin to send events.
    Stream,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, id: u64) -> Connection {
        Connection { stream, head: Vec::new(), reading: Reading::Head, out: Vec::new(), streaming: None, id }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Reads what is there and answers the requests in it.
    pub(super) fn read(&mut self, buffer: &mut [u8], answer: Answer, bytes: &Bytes) -> Step {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Step::Close,
                Ok(count) => {
                    let step = self.take(&buffer[..count], answer, bytes);
                    // A short read leaves nothing behind; what comes later is told anew.
                    if step != Step::Nothing || count < buffer.len() {
                        return step;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Step::Close,
            }
        }
    }

    fn take(&mut self, read: &[u8], answer: Answer, bytes: &Bytes) -> Step {
        let joined;
        let mut rest = read;
        if !self.head.is_empty() {
            self.head.extend_from_slice(read);
            joined = std::mem::take(&mut self.head);
            rest = &joined;
        }
        while !rest.is_empty() {
            if let Reading::Head = self.reading {
                match head(rest) {
                    Err(_) => return Step::Close,
                    Ok(None) => {
                        self.head = rest.to_vec();
                        return Step::Nothing;
                    }
                    Ok(Some((taken, body, path))) => {
                        rest = &rest[taken..];
                        self.reading = Reading::Body { body, path };
                    }
                }
            }
            let Reading::Body { body, .. } = &mut self.reading else { continue };
            match body.feed(rest, |_| ()) {
                Err(_) => return Step::Close,
                Ok(taken) => rest = &rest[taken..],
            }
            let Reading::Body { body, path } = &self.reading else { continue };
            if !body.is_done() {
                return Step::Nothing;
            }
            let path = path.clone();
            self.reading = Reading::Head;
            // Nobody here sends a second request before the first is answered.
            return self.answer(&path, answer, bytes);
        }
        Step::Nothing
    }

    fn answer(&mut self, path: &Path, answer: Answer, bytes: &Bytes) -> Step {
        let sent = match (path, answer) {
            (Path::Other(reply), _) => self.send(reply),
            (Path::Completion, Answer::Whole) => self.send(&bytes.whole),
            (Path::Completion, Answer::Stream { .. }) => {
                self.streaming = Some(0);
                return Step::Stream;
            }
        };
        if sent.is_err() { Step::Close } else { Step::Nothing }
    }

    /// One event, or the stream's end.
    pub(super) fn send_event(&mut self, events: u32, bytes: &Bytes) -> io::Result<Sent> {
        let Some(sent) = self.streaming else { return Ok(Sent::Ended) };
        if sent == events {
            self.streaming = None;
            self.send(&bytes.done)?;
            return Ok(Sent::Ended);
        }
        self.streaming = Some(sent + 1);
        if sent == 0 {
            self.send(&[&bytes.stream_head[..], &bytes.event].concat())?;
        } else {
            self.send(&bytes.event)?;
        }
        Ok(if self.out.is_empty() { Sent::More } else { Sent::Blocked })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = if self.out.is_empty() { write_some(&mut self.stream, bytes)? } else { 0 };
        self.out.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Writes what is left over; a stream that was blocked by it goes on.
    pub(super) fn flush(&mut self) -> Step {
        if self.out.is_empty() {
            return Step::Nothing;
        }
        let Ok(sent) = write_some(&mut self.stream, &self.out) else { return Step::Close };
        self.out.drain(..sent);
        if self.out.is_empty() && self.streaming.is_some() { Step::Stream } else { Step::Nothing }
    }
}

/// How much the socket took.
fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// The head's length, the body it announces, and what is asked for; `None` while it is not whole.
fn head(bytes: &[u8]) -> Result<Option<(usize, Body, Path)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(bytes)? else { return Ok(None) };
    let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let path = match (method, path) {
        ("POST", "/v1/chat/completions" | "/v1/completions") => Path::Completion,
        _ => Path::Other(other(method, path)),
    };
    Ok(Some((length, Body::of(request.headers).unwrap_or(Body::Sized(0)), path)))
}
