//! Cuts a byte stream into the `data:` payloads of server-sent events.

/// Most bytes one event may have before the stream is given up.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Collects bytes and gives back whole events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    held: Vec<u8>,
}

/// An event that grew past its bound.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Events {
    /// Takes the next bytes; returns the payloads of the events they completed.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, TooLong> {
        self.held.extend_from_slice(bytes);
        let mut payloads = Vec::new();
        let mut start = 0;
        while let Some(length) = self.held[start..].windows(2).position(|pair| pair == b"\n\n") {
            payloads.extend(payload(&self.held[start..start + length]));
            start += length + 2;
        }
        self.held.drain(..start);
        if self.held.len() > EVENT_BYTES_MAX { Err(TooLong) } else { Ok(payloads) }
    }
}

fn payload(event: &[u8]) -> Option<String> {
    let lines: Vec<&[u8]> = event
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"data:"))
        .map(|rest| rest.strip_prefix(b" ").unwrap_or(rest))
        .collect();
    (!lines.is_empty()).then(|| String::from_utf8_lossy(&lines.join(&b'\n')).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] = b": hi\n\ndata: {\"a\":1}\n\nevent: x\ndata: one\ndata: two\n\ndata: [DONE]\n\n";

    fn payloads_of(cuts: &[usize]) -> Vec<String> {
        let mut events = Events::default();
        let mut rest = STREAM;
        let mut all = Vec::new();
        for cut in cuts {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            all.extend(events.push(now).unwrap());
            rest = later;
        }
        all.extend(events.push(rest).unwrap());
        all
    }

    proptest! {
        #[test]
        fn any_cut_of_the_bytes_gives_the_same_events(cuts in prop::collection::vec(0_usize..12, 0..16)) {
            prop_assert_eq!(payloads_of(&cuts), ["{\"a\":1}", "one\ntwo", "[DONE]"]);
        }
    }

    #[test]
    fn an_endless_event_is_given_up() {
        assert_eq!(Events::default().push(&vec![b'x'; EVENT_BYTES_MAX + 1]), Err(TooLong));
    }
}
