//! Takes an answer's body out of the bytes that were read, without copying.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;

use crate::error::Error;
use crate::head::{HEADERS_MAX, name_of};

/// Bytes of a chunk's size and extensions.
const SIZE_BYTES_MAX: usize = 256;
/// Bytes of all trailers.
const TRAILER_BYTES_MAX: usize = 16 << 10;
/// The last chunk behind the end of the one before it.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// How much of a body is still to come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As many bytes; never none.
    Length(u64),
    Chunked(Chunk),
    /// All until the connection ends.
    Close,
    /// Nothing.
    Over,
}

/// What comes next of a body in chunks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Size,
    /// As many bytes; never none.
    Data(u64),
    DataEnd,
    Trailers,
}

/// What the bytes at hand hold.
#[derive(Debug)]
pub(crate) enum Step {
    Frame(Frame<Bytes>),
    /// Nothing whole: read on.
    More,
    Over,
}

impl Reader {
    pub fn of_length(length: u64) -> Reader {
        if length == 0 { Reader::Over } else { Reader::Length(length) }
    }

    pub fn chunked() -> Reader {
        Reader::Chunked(Chunk::Size)
    }

    /// Takes the next frame.
    pub fn step(&mut self, read: &mut BytesMut) -> Result<Step, Error> {
        match self {
            Reader::Over => Ok(Step::Over),
            Reader::Close if read.is_empty() => Ok(Step::More),
            Reader::Close => Ok(Step::Frame(Frame::data(read.split().freeze()))),
            Reader::Length(_) if read.is_empty() => Ok(Step::More),
            Reader::Length(left) => {
                let data = take(read, left);
                if *left == 0 {
                    *self = Reader::Over;
                }
                Ok(Step::Frame(Frame::data(data)))
            }
            Reader::Chunked(_) => self.step_chunk(read),
        }
    }

    fn step_chunk(&mut self, read: &mut BytesMut) -> Result<Step, Error> {
        loop {
            let Reader::Chunked(chunk) = self else { return Ok(Step::Over) };
            match chunk {
                Chunk::Size => {
                    let Some(size) = take_size(read)? else { return Ok(Step::More) };
                    *chunk = if size == 0 { Chunk::Trailers } else { Chunk::Data(size) };
                }
                Chunk::Data(_) if read.is_empty() => return Ok(Step::More),
                Chunk::Data(left) => {
                    let data = take(read, left);
                    if *left == 0 {
                        *chunk = Chunk::DataEnd;
                        // Mostly the last chunk comes with the one before it: who is told so need not ask again.
                        if read.starts_with(LAST_CHUNK) {
                            read.advance(LAST_CHUNK.len());
                            *self = Reader::Over;
                        }
                    }
                    return Ok(Step::Frame(Frame::data(data)));
                }
                Chunk::DataEnd => match read.get(..2) {
                    None => return Ok(Step::More),
                    Some(b"\r\n") => {
                        read.advance(2);
                        *chunk = Chunk::Size;
                    }
                    Some(_) => return Err(Error::Broken("a chunk is longer than its size")),
                },
                Chunk::Trailers => {
                    let Some(trailers) = take_trailers(read)? else { return Ok(Step::More) };
                    *self = Reader::Over;
                    if !trailers.is_empty() {
                        return Ok(Step::Frame(Frame::trailers(trailers)));
                    }
                }
            }
        }
    }

    /// The connection has ended: whether the body has, too.
    pub fn end(&mut self) -> Result<(), Error> {
        match std::mem::replace(self, Reader::Over) {
            Reader::Over | Reader::Close => Ok(()),
            Reader::Length(_) | Reader::Chunked(_) => Err(Error::Short),
        }
    }
}

fn take(read: &mut BytesMut, left: &mut u64) -> Bytes {
    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
    *left -= len as u64;
    read.split_to(len).freeze()
}

/// `size [;extensions] CRLF`.
fn take_size(read: &mut BytesMut) -> Result<Option<u64>, Error> {
    const WRONG: Error = Error::Broken("a chunk's size cannot be read");
    let seen = &read[..read.len().min(SIZE_BYTES_MAX)];
    let digits = seen.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    // Sixteen digits are 64 bits.
    if digits > 16 || (digits == 0 && !seen.is_empty()) {
        return Err(WRONG);
    }
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return if seen.len() == SIZE_BYTES_MAX { Err(WRONG) } else { Ok(None) };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(WRONG)?;
    let (size, rest) = line.split_at_checked(digits).ok_or(WRONG)?;
    let extension = rest.iter().find(|byte| !matches!(**byte, b' ' | b'\t'));
    if extension.is_some_and(|byte| *byte != b';') || rest.contains(&b'\r') {
        return Err(WRONG);
    }
    let size = size.iter().fold(0, |size, digit| size << 4 | u64::from(hex(*digit)));
    read.advance(end + 1);
    Ok(Some(size))
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn take_trailers(read: &mut BytesMut) -> Result<Option<HeaderMap>, Error> {
    if read.starts_with(b"\r\n") {
        read.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    match httparse::parse_headers(read, &mut lines) {
        Ok(httparse::Status::Partial) if read.len() > TRAILER_BYTES_MAX => {
            Err(Error::Broken("its trailers are too long"))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(Error::Broken("its trailers cannot be read")),
        Ok(httparse::Status::Complete((len, lines))) => {
            let mut trailers = HeaderMap::with_capacity(lines.len());
            for line in lines {
                let value = HeaderValue::from_bytes(line.value);
                trailers.append(name_of(line.name)?, value.map_err(|_| Error::Broken("its trailers cannot be read"))?);
            }
            read.advance(len);
            Ok(Some(trailers))
        }
    }
}

#[cfg(test)]
mod tests;
