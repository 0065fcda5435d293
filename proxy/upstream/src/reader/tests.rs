//! Bodies cut anywhere give the same bytes; bodies that are none are refused.

use proptest::prelude::*;

use super::*;

/// What comes out when the bytes come in these pieces, and then the connection ends.
fn read(mut reader: Reader, pieces: &[&[u8]]) -> Result<(Vec<u8>, String, Vec<u8>), String> {
    let (mut data, mut trailers, mut read) = (Vec::new(), String::new(), BytesMut::new());
    for piece in pieces {
        read.extend_from_slice(piece);
        loop {
            match reader.step(&mut read).map_err(|error| error.to_string())? {
                Step::More => break,
                Step::Over => return Ok((data, trailers, rest(&read, pieces, piece))),
                Step::Frame(frame) => match frame.into_data() {
                    Ok(bytes) => {
                        assert!(!bytes.is_empty(), "no frame is empty");
                        data.extend_from_slice(&bytes);
                    }
                    Err(frame) => trailers = format!("{:?}", frame.into_trailers().expect("no data, so trailers")),
                },
            }
        }
    }
    reader.end().map_err(|error| error.to_string())?;
    Ok((data, trailers, Vec::new()))
}

/// Bytes behind the body: left in the buffer, or not even read.
fn rest(read: &[u8], pieces: &[&[u8]], last: &&[u8]) -> Vec<u8> {
    let at = pieces.iter().position(|piece| std::ptr::eq(piece, last)).expect("one of them");
    [read, &pieces[at + 1..].concat()].concat()
}

fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn any_cut_of_chunks_gives_the_same_body(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        extension in "(;[a-z]{0,5})?",
        trailers in prop::collection::vec("[a-z]{1,8}", 0..3),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n");
        for name in &trailers {
            wire.extend_from_slice(format!("{name}: 1\r\n").as_bytes());
        }
        wire.extend_from_slice(b"\r\nrest");
        let whole = read(Reader::chunked(), &[&wire]);
        prop_assert_eq!(&whole, &read(Reader::chunked(), &cut(&wire, &cuts)));
        let (data, told, rest) = whole.expect("it is well made");
        prop_assert_eq!(data, chunks.concat());
        prop_assert_eq!(told.is_empty(), trailers.is_empty());
        prop_assert_eq!(rest, b"rest");
    }

    #[test]
    fn any_cut_of_a_length_gives_the_same_body(
        body in prop::collection::vec(any::<u8>(), 1..200),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let wire = [&body[..], b"rest"].concat();
        let (data, _, rest) = read(Reader::of_length(body.len() as u64), &cut(&wire, &cuts)).expect("it is whole");
        prop_assert_eq!((data, &rest[..]), (body, &b"rest"[..]));
    }

    #[test]
    fn any_bytes_are_a_body_or_refused_however_they_are_cut(
        bytes in prop::collection::vec(prop::sample::select(&b"0123fF;\r\n\r\n\r\nax: "[..]), 0..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = read(Reader::chunked(), &[&bytes]);
        prop_assert_eq!(whole, read(Reader::chunked(), &cut(&bytes, &cuts)));
    }
}

#[track_caller]
fn bad(wire: &str, expected: &str) {
    assert_eq!(read(Reader::chunked(), &[wire.as_bytes()]), Err(expected.to_owned()));
}

#[test]
fn chunks_that_are_none_are_refused() {
    let size = "the answer is not HTTP: a chunk's size cannot be read";
    for wire in ["\r\n", "x\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\n", "1\na\r\n", "1 1\r\n", "1\r;\r\n"] {
        bad(wire, size);
    }
    bad("10000000000000000\r\n", size);
    bad(&format!("1;{}", "a".repeat(SIZE_BYTES_MAX)), size);
    bad("1\r\nab\r\n", "the answer is not HTTP: a chunk is longer than its size");
    bad("0\r\na b: c\r\n\r\n", "the answer is not HTTP: its trailers cannot be read");
    bad(&format!("0\r\na: {}", "b".repeat(TRAILER_BYTES_MAX)), "the answer is not HTTP: its trailers are too long");
}

#[test]
fn a_body_that_stops_is_told_from_one_that_ends() {
    let short = "the connection closed before the answer's end";
    for wire in ["", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r\n", "3\r\nabc\r\n0\r\n"] {
        bad(wire, short);
    }
    assert_eq!(read(Reader::of_length(3), &[b"ab"]), Err(short.to_owned()));
    assert_eq!(read(Reader::Close, &[b"ab", b"c"]), Ok((b"abc".to_vec(), String::new(), Vec::new())));
}
