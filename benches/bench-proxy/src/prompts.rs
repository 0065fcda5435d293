//! Makes requests whose prompts share a beginning with some of the others: three quarters, one of 64; the rest is new.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How many beginnings there are.
const PREFIXES: usize = 64;
/// Words that ends are cut from: long enough that no two ends of a run are the same.
const WORDS_BYTES: usize = 8 << 20;
/// What a request begins and ends with, around the prompt.
const HEAD: &str = r#"{"model":"bench-model","messages":[{"role":"user","content":""#;
const WHOLE_TAIL: &str = r#""}],"max_tokens":64}"#;
const STREAM_TAIL: &str = r#""}],"max_tokens":64,"stream":true}"#;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// One JSON answer.
    Whole,
    /// Events.
    Stream,
}

/// An endless supply of requests of one size.
pub struct Requests {
    head: Vec<u8>,
    prefixes: Vec<Vec<u8>>,
    words: Vec<u8>,
    end_bytes: usize,
    tail: &'static str,
    chance: ChaCha8Rng,
}

impl Requests {
    /// Bodies of `body_bytes`; the same seed gives the same requests.
    pub fn new(ask: Ask, body_bytes: usize, seed: u64) -> Requests {
        Requests::of(ask, body_bytes, seed, WORDS_BYTES)
    }

    /// A few small ones, for those that ask whether anybody is there.
    pub fn short(ask: Ask) -> Requests {
        Requests::of(ask, 256, 0, 1024)
    }

    fn of(ask: Ask, body_bytes: usize, seed: u64, words_bytes: usize) -> Requests {
        let tail = match ask {
            Ask::Whole => WHOLE_TAIL,
            Ask::Stream => STREAM_TAIL,
        };
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let prompt_bytes = body_bytes.saturating_sub(HEAD.len() + tail.len());
        let end_bytes = prompt_bytes / 4;
        let prefixes = (0..PREFIXES).map(|_| words(&mut chance, prompt_bytes - end_bytes)).collect();
        let words = words(&mut chance, words_bytes);
        let body_bytes = HEAD.len() + prompt_bytes + tail.len();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {body_bytes}\r\n\r\n{HEAD}"
        );
        Requests { head: head.into_bytes(), prefixes, words, end_bytes, tail, chance }
    }

    /// Puts the next request into `out`, head and body.
    pub fn next_into(&mut self, out: &mut Vec<u8>) {
        let prefix = self.chance.random_range(0..self.prefixes.len());
        let end = self.chance.random_range(0..self.words.len() - self.end_bytes);
        out.clear();
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.prefixes[prefix]);
        out.extend_from_slice(&self.words[end..end + self.end_bytes]);
        out.extend_from_slice(self.tail.as_bytes());
    }
}

/// Lower-case words of two to nine letters: nothing that JSON would escape.
fn words(chance: &mut ChaCha8Rng, bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 10);
    while text.len() < bytes {
        for _ in 0..chance.random_range(2..10) {
            text.push(chance.random_range(b'a'..=b'z'));
        }
        text.push(b' ');
    }
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(requests: &mut Requests) -> String {
        let mut out = Vec::new();
        requests.next_into(&mut out);
        let text = String::from_utf8(out).unwrap();
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    #[test]
    fn bodies_have_the_size_that_was_asked_for_and_are_json() {
        for (ask, stream) in [(Ask::Whole, None), (Ask::Stream, Some(true))] {
            let body = body(&mut Requests::new(ask, 1024, 1));
            assert_eq!(body.len(), 1024);
            let json: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(json["stream"].as_bool(), stream);
        }
    }

    #[test]
    fn prompts_share_three_quarters_with_some_and_nothing_more() {
        let mut requests = Requests::new(Ask::Whole, 4096, 1);
        let bodies: Vec<String> = (0..500).map(|_| body(&mut requests)).collect();
        let beginnings: std::collections::BTreeSet<&str> = bodies.iter().map(|body| &body[..3000]).collect();
        let wholes: std::collections::BTreeSet<&String> = bodies.iter().collect();
        assert_eq!((beginnings.len(), wholes.len()), (PREFIXES, 500));
    }

    #[test]
    fn a_seed_repeats_its_requests() {
        let two = || body(&mut Requests::new(Ask::Whole, 1024, 7));
        assert_eq!(two(), two());
    }
}
