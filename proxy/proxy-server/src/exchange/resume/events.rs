//! Cuts a stream of bytes into whole server-sent events, each with the empty line that ends it.

use bytes::Bytes;

/// An event that has begun.
pub(super) struct Events {
    partial: Vec<u8>,
    /// Where its last line begins; no event ends before.
    line_start: usize,
    bytes_max: usize,
}

/// An event is larger than the bound.
pub(super) struct TooLarge;

impl Events {
    pub fn new(bytes_max: usize) -> Events {
        Events { partial: Vec::new(), line_start: 0, bytes_max }
    }

    /// Takes bytes; hands on each event that is whole by them.
    pub fn push(&mut self, data: Bytes, mut each: impl FnMut(Bytes)) -> Result<(), TooLarge> {
        let mut rest = data;
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(&rest);
            rest = Bytes::new();
            if let Ok(end) = event_end(&self.partial, &mut self.line_start) {
                rest = self.rest();
                each(rest.split_to(end));
            }
        }
        if !rest.is_empty() {
            self.line_start = 0;
            while let Ok(end) = event_end(&rest, &mut self.line_start) {
                each(rest.split_to(end));
                self.line_start = 0;
            }
            self.partial.extend_from_slice(&rest);
        }
        if self.partial.len() > self.bytes_max { Err(TooLarge) } else { Ok(()) }
    }

    /// What has begun and not ended.
    pub fn rest(&mut self) -> Bytes {
        self.line_start = 0;
        std::mem::take(&mut self.partial).into()
    }
}

/// No event ends here.
struct Open;

/// Where the first event ends, looked for from the line that begins at `line_start`, which is moved to the last line.
fn event_end(data: &[u8], line_start: &mut usize) -> Result<usize, Open> {
    while let Some(len) = data[*line_start..].iter().position(|byte| *byte == b'\n') {
        let end = *line_start + len + 1;
        if matches!(&data[*line_start..end], b"\n" | b"\r\n") {
            return Ok(end);
        }
        *line_start = end;
    }
    Err(Open)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &[u8], at: &[usize]) -> (Vec<Bytes>, Bytes) {
        let mut events = Events::new(usize::MAX);
        let mut whole = Vec::new();
        let mut from = 0;
        for to in at.iter().copied().chain([text.len()]) {
            let (from, to) = (std::mem::replace(&mut from, to), to);
            assert!(events.push(Bytes::copy_from_slice(&text[from..to]), |event| whole.push(event)).is_ok());
        }
        (whole, events.rest())
    }

    proptest! {
        /// However the bytes are cut, the events are the same, and no byte is lost.
        #[test]
        fn cutting_does_not_matter(
            lines in proptest::collection::vec("(a|: b|\r|c\r|)\n", 0..12),
            end in "[ad]?",
            mut at in proptest::collection::vec(0..60_usize, 0..12),
        ) {
            let text = (lines.concat() + &end).into_bytes();
            at.retain(|at| *at < text.len());
            at.sort_unstable();
            let (whole, rest) = cut(&text, &at);
            prop_assert_eq!((whole.clone(), rest.clone()), cut(&text, &[]));
            prop_assert_eq!([whole.concat(), rest.to_vec()].concat(), text);
            prop_assert!(whole.iter().all(|event| event.ends_with(b"\n")));
            prop_assert!(!rest.ends_with(b"\n\n"));
        }
    }

    #[test]
    fn an_event_over_the_bound_is_told() {
        let mut events = Events::new(4);
        assert!(events.push(Bytes::from_static(b"123\n\n1234"), |_| {}).is_ok());
        assert!(events.push(Bytes::from_static(b"5"), |_| {}).is_err());
        assert_eq!(events.rest(), "12345");
    }
}
