//! Server-sent events as both endpoints stream them: `data: {json}`, an empty line, and `[DONE]` at the end.

use serde::Serialize;

/// What ends every stream.
pub const DONE_FRAME: &[u8] = b"data: [DONE]\n\n";

/// One event.
pub fn frame(chunk: &impl Serialize) -> Vec<u8> {
    let mut bytes = b"data: ".to_vec();
    serde_json::to_writer(&mut bytes, chunk).expect("the wire types have string keys, and a vector takes all bytes");
    bytes.extend_from_slice(b"\n\n");
    bytes
}
