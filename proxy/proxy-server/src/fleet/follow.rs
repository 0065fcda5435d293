//! Follows the states that a replica of ours pushes, for as long as it does.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use openai_api::ReplicaState;

/// Bytes of one pushed state.
const FRAME_BYTES_MAX: usize = 64 << 10;

/// A replica's stream of states.
pub(super) struct Following {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Following {
    pub fn of(body: Incoming) -> Following {
        Following { body, buffer: Vec::new() }
    }

    /// The next state, or `None` when there is none in time, the stream has ended, or it is not one of states.
    pub async fn next(&mut self, silence_max: Duration) -> Option<ReplicaState> {
        tokio::time::timeout(silence_max, self.read()).await.ok()?
    }

    async fn read(&mut self) -> Option<ReplicaState> {
        loop {
            if let Some(state) = take_last(&mut self.buffer) {
                return serde_json::from_slice(&state).ok();
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                if self.buffer.len() + data.len() > FRAME_BYTES_MAX {
                    return None;
                }
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

/// The data of the last whole event; those before it are out of date already.
fn take_last(buffer: &mut Vec<u8>) -> Option<Bytes> {
    let end = buffer.windows(2).rposition(|pair| pair == b"\n\n")?;
    let begin = buffer[..end].windows(2).rposition(|pair| pair == b"\n\n").map_or(0, |at| at + 2);
    let event = Bytes::copy_from_slice(&buffer[begin..end]);
    buffer.drain(..end + 2);
    Some(event.strip_prefix(b"data: ").map_or(Bytes::new(), |data| event.slice_ref(data)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>, rest: &str) {
        let mut buffer = text.as_bytes().to_vec();
        assert_eq!(take_last(&mut buffer).as_deref(), expected.map(str::as_bytes), "{text:?}");
        assert_eq!(buffer, rest.as_bytes());
    }

    #[test]
    fn only_the_last_whole_state_counts() {
        check("data: {", None, "data: {");
        check("data: 1\n\n", Some("1"), "");
        check("data: 1\n\ndata: 2\n\nda", Some("2"), "da");
        check(": nothing\n\n", Some(""), "");
    }
}
