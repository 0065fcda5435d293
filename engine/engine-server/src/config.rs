//! What the engine serves, where, and every bound it keeps.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use engine_model::Gguf;

use crate::Error;

/// hyper reads into a buffer that is never smaller.
const HEAD_BYTES_LEAST: usize = 8192;

const STEP_TOKENS_MAX: &str = "step_tokens_max (--max-num-batched-tokens)";

/// The settings of one engine process. [`Config::new`] gives every bound its ordinary value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A checkpoint: a directory in Hugging Face layout, or a GGUF file.
    pub model: PathBuf,
    /// The model's name in requests; none: the directory's name, or the file's without its ending.
    pub served_name: Option<String>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,

    /// KV blocks in all. They bound the context too: a request must fit into them.
    pub kv_blocks: u32,
    /// Tokens one KV block holds.
    pub block_tokens: u32,
    /// Most tokens one step computes, over all requests.
    pub step_tokens_max: u32,
    /// Most requests in the running batch.
    pub running_max: u32,
    /// Most requests that wait for the batch; more are answered 503.
    pub waiting_max: u32,
    /// Most requests on their way to the driver; more are answered 503.
    pub inbox_max: u32,

    /// Largest request body.
    pub body_bytes_max: usize,
    /// Most open connections; more wait in the operating system's queue.
    pub connections_max: usize,
    /// Most requests being read, tokenised, run or answered; more are answered 503.
    pub requests_max: usize,
    /// Most prompts tokenised at once; more wait for their turn. Each takes a core.
    pub tokenize_max: usize,
    /// Largest request head: its line and its headers. At least 8192.
    pub head_bytes_max: usize,
    /// Most header lines of a request. A proxy adds a few of its own to what its client sent.
    pub headers_max: usize,
    /// Longest wait for a request's head.
    pub head_wait_max: Duration,
    /// Longest wait for a request's body.
    pub body_wait_max: Duration,
    /// Longest wait, at shutdown, for requests to finish.
    pub drain_wait_max: Duration,
}

impl Config {
    /// Ordinary bounds for a checkpoint and an address.
    pub fn new(model: impl Into<PathBuf>, listen: SocketAddr) -> Config {
        Config {
            model: model.into(),
            served_name: None,
            listen,
            kv_blocks: 1024,
            block_tokens: 16,
            step_tokens_max: 512,
            running_max: 64,
            waiting_max: 256,
            inbox_max: 256,
            body_bytes_max: 4 << 20,
            connections_max: 1024,
            requests_max: 1024,
            tokenize_max: 4,
            head_bytes_max: 64 << 10,
            headers_max: 128,
            head_wait_max: Duration::from_secs(10),
            body_wait_max: Duration::from_secs(30),
            drain_wait_max: Duration::from_secs(20),
        }
    }

    /// The model's name in requests.
    pub fn served_name(&self) -> String {
        self.served_name.clone().unwrap_or_else(|| {
            let path = self.model.canonicalize().unwrap_or_else(|_| self.model.clone());
            let name = if Gguf::is_named_so(&path) { path.file_stem() } else { path.file_name() };
            name.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
        })
    }

    /// Refuses bounds that nothing fits into, by the names they have here and, for the most of them, as flags.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let counts = [
            ("kv_blocks (--kv-blocks)", self.kv_blocks as usize),
            ("block_tokens (--block-size)", self.block_tokens as usize),
            (STEP_TOKENS_MAX, self.step_tokens_max as usize),
            ("running_max (--max-num-seqs)", self.running_max as usize),
            ("waiting_max (--max-waiting)", self.waiting_max as usize),
            ("inbox_max", self.inbox_max as usize),
            ("body_bytes_max (--max-body-bytes)", self.body_bytes_max),
            ("connections_max", self.connections_max),
            ("requests_max", self.requests_max),
            ("tokenize_max", self.tokenize_max),
            ("headers_max", self.headers_max),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((name, _)) => Err(Error::Config { name, wanted: "at least 1" }),
            None if self.head_bytes_max < HEAD_BYTES_LEAST => {
                Err(Error::Config { name: "head_bytes_max", wanted: "at least 8192" })
            }
            None if self.step_tokens_max < self.running_max => {
                Err(Error::Config { name: STEP_TOKENS_MAX, wanted: "at least running_max (--max-num-seqs)" })
            }
            None => Ok(()),
        }
    }
}
