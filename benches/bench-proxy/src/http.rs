//! Finds where an HTTP/1.1 body ends, however its bytes are cut.

/// A body that arrives piece by piece.
#[derive(Debug)]
pub(crate) enum Body {
    /// So many bytes are left.
    Sized(u64),
    /// Chunks, until the empty one.
    Chunked(Chunk),
    /// Whatever comes until the connection closes.
    UntilClose,
}

/// Where in the chunks we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// In the size, of which this much was read.
    Size(u64),
    /// Behind the size, before the line's end.
    Extension(u64),
    /// In the data.
    Data(u64),
    /// In the line's end behind the data.
    DataEnd,
    /// In the trailer; whether its line is empty so far.
    Trailer(Line),
    /// Behind the last byte.
    Done,
}

/// A line of the trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Empty,
    Text,
}

/// These bytes are no chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Body {
    /// As the headers say; `None` when they say nothing.
    pub(crate) fn of(headers: &[httparse::Header<'_>]) -> Option<Body> {
        let mut sized = None;
        for header in headers {
            if header.name.eq_ignore_ascii_case("transfer-encoding") {
                return Some(Body::Chunked(Chunk::Size(0)));
            }
            if header.name.eq_ignore_ascii_case("content-length") {
                sized = std::str::from_utf8(header.value).ok().and_then(|value| value.trim().parse().ok());
            }
        }
        sized.map(Body::Sized)
    }

    /// Hands the content in `bytes` to `sink`; returns how many of them were the body's.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        match self {
            Body::Sized(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                sink(&bytes[..taken]);
                Ok(taken)
            }
            Body::Chunked(state) => feed_chunks(state, bytes, sink),
            Body::UntilClose => {
                sink(bytes);
                Ok(bytes.len())
            }
        }
    }

    /// Whether the last byte was fed.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Body::Sized(0) | Body::Chunked(Chunk::Done))
    }
}

fn feed_chunks(state: &mut Chunk, bytes: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, Malformed> {
    let mut at = 0;
    while at < bytes.len() && *state != Chunk::Done {
        if let Chunk::Data(left) = *state {
            let taken = (bytes.len() - at).min(usize::try_from(left).unwrap_or(usize::MAX));
            sink(&bytes[at..at + taken]);
            at += taken;
            *state = if taken as u64 == left { Chunk::DataEnd } else { Chunk::Data(left - taken as u64) };
            continue;
        }
        *state = next(*state, bytes[at])?;
        at += 1;
    }
    Ok(at)
}

/// After one byte that is not data.
fn next(state: Chunk, byte: u8) -> Result<Chunk, Malformed> {
    Ok(match (state, byte) {
        (Chunk::Size(size) | Chunk::Extension(size), b'\n') => match size {
            0 => Chunk::Trailer(Line::Empty),
            size => Chunk::Data(size),
        },
        (Chunk::Size(size), b'\r' | b';' | b' ') | (Chunk::Extension(size), _) => Chunk::Extension(size),
        (Chunk::Size(size), digit) => {
            let digit = char::from(digit).to_digit(16).ok_or(Malformed)?;
            Chunk::Size(size.checked_mul(16).ok_or(Malformed)? + u64::from(digit))
        }
        (Chunk::DataEnd, b'\r') => Chunk::DataEnd,
        (Chunk::DataEnd, b'\n') => Chunk::Size(0),
        (Chunk::Trailer(Line::Empty), b'\n') => Chunk::Done,
        (Chunk::Trailer(Line::Text), b'\n') => Chunk::Trailer(Line::Empty),
        (Chunk::Trailer(line), b'\r') => Chunk::Trailer(line),
        (Chunk::Trailer(_), _) => Chunk::Trailer(Line::Text),
        (Chunk::DataEnd | Chunk::Data(_) | Chunk::Done, _) => return Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content, and what follows the body.
    fn read(cuts: &[&[u8]]) -> Result<(Vec<u8>, usize), Malformed> {
        let (mut body, mut content, mut taken) = (Body::Chunked(Chunk::Size(0)), Vec::new(), 0);
        for bytes in cuts {
            taken += body.feed(bytes, |piece| content.extend_from_slice(piece))?;
        }
        assert!(body.is_done(), "the last byte was fed");
        Ok((content, taken))
    }

    #[test]
    fn chunks_extensions_and_trailers_are_told_from_content() {
        let rows: [(&str, &str); 4] = [
            ("3\r\nabc\r\n0\r\n\r\n", "abc"),
            ("a;x=y\r\n0123456789\r\n1\r\nz\r\n0\r\n\r\n", "0123456789z"),
            ("0\r\nx-t: 1\r\n\r\n", ""),
            ("2\r\n\r\n\r\n00\r\n\r\n", "\r\n"),
        ];
        for (bytes, content) in rows {
            assert_eq!(read(&[bytes.as_bytes()]), Ok((content.into(), bytes.len())), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_size_is_malformed() {
        for bytes in ["x\r\n", "1\r\nab\r\n0\r\n\r\n", "fffffffffffffffff\r\n"] {
            let mut body = Body::Chunked(Chunk::Size(0));
            assert_eq!(body.feed(bytes.as_bytes(), |_| ()), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn bytes_behind_the_body_are_left() {
        let mut body = Body::Sized(3);
        assert_eq!(body.feed(b"abcdef", |_| ()), Ok(3));
        assert!(body.is_done());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_content(content in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            for chunk in &content {
                bytes.extend(format!("{:X}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
            }
            bytes.extend(b"0\r\n\r\n");
            let (left, right) = bytes.split_at(cut.index(bytes.len()));
            prop_assert_eq!(read(&[left, right]), Ok((content.concat(), bytes.len())));
        }
    }
}
