//! How a stream goes on at another server: what the first one told of its tokens, and what the second one is given.

use serde::{Deserialize, Serialize};

/// A request with this header, whatever its value, gets a [`Produced`] before the output of each event of its stream.
pub const PRODUCED_HEADER: &str = "x-headworks-produced";
/// What the line of a stream begins with that holds a [`Produced`]. To SSE it is a comment.
pub const PRODUCED_PREFIX: &str = ": headworks ";
/// The field of a request's body that holds a [`Continuation`].
pub const CONTINUATION_FIELD: &str = "headworks_continuation";

/// What a server tells of the tokens behind the event that follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Produced {
    /// Sampled since the last time it told, in order.
    pub tokens: Vec<u32>,
    /// The output ends with this event.
    #[serde(skip_serializing_if = "is_false")]
    pub last: bool,
    /// With the first event: the sampler's seed, the client's or one drawn for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// With the first event: prompt tokens that were answered from the prefix cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u32>,
}

/// A stream that another server began, as far as its client has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Continuation {
    /// As the stream's events have it.
    pub id: String,
    /// As the stream's events have it.
    pub created: u64,
    /// The event that opens a chat's stream is not to come again.
    pub opened: bool,
    /// The sampler's seed.
    pub seed: Option<u64>,
    /// Prompt tokens that the first server answered from its prefix cache: what the usage says.
    pub cached_tokens: u32,
    /// The output so far; it counts against the request's bound.
    pub tokens: Vec<u32>,
}

impl Produced {
    /// The comment line.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = PRODUCED_PREFIX.as_bytes().to_vec();
        serde_json::to_writer(&mut line, self).expect("the type has string keys, and a vector takes all bytes");
        line.push(b'\n');
        line
    }

    /// Reads a line of a stream, with or without its end; `None` when it is another one.
    pub fn from_line(line: &[u8]) -> Option<Produced> {
        serde_json::from_slice(line.strip_prefix(PRODUCED_PREFIX.as_bytes())?).ok()
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written_and_other_lines_are_not() {
        let produced = Produced { tokens: vec![3, 1], seed: Some(u64::MAX), ..Produced::default() };
        assert_eq!(produced.to_line(), b": headworks {\"tokens\":[3,1],\"seed\":18446744073709551615}\n");
        assert_eq!(Produced::from_line(&produced.to_line()), Some(produced));
        assert_eq!(Produced::from_line(b": keep-alive"), None);
        assert_eq!(Produced::from_line(b"data: {}"), None);
        assert_eq!(Produced::from_line(b": headworks is fine"), None);
    }
}
