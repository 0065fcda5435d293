//! The request that a hook is asked about: lent by the host, or made up in a test.

use crate::bindings::senses::headworks::policy::request as wit;

pub use wit::Hashes;

/// The request of one call. Each answer is made when it is asked for.
#[derive(Debug)]
pub struct Request<'a>(Source<'a>);

#[derive(Debug)]
enum Source<'a> {
    Lent(&'a wit::Request),
    Made(&'a Facts),
}

/// A made-up request, for tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// See [`Request::id`].
    pub id: u64,
    /// See [`Request::endpoint`].
    pub endpoint: String,
    /// See [`Request::model`].
    pub model: String,
    /// See [`Request::tenant`].
    pub tenant: String,
    /// See [`Request::session`].
    pub session: Option<String>,
    /// See [`Request::priority`].
    pub priority: u32,
    /// See [`Request::prompt_tokens_estimate`].
    pub prompt_tokens_estimate: u32,
    /// See [`Request::output_tokens_max`].
    pub output_tokens_max: u32,
    /// See [`Request::stream`].
    pub stream: bool,
    /// See [`Request::hop`].
    pub hop: u32,
    /// See [`Request::prompt`].
    pub prompt: Vec<u8>,
    /// See [`Request::tokens`].
    pub tokens: Vec<u32>,
    /// See [`Request::block_hashes`]; not made from the prompt, so that a test chooses them.
    pub block_hashes: Vec<u64>,
    /// Lower-case name, value.
    pub headers: Vec<(String, String)>,
}

/// Asks the host, or the facts of a test.
macro_rules! asked {
    ($request:expr, $lent:ident => $from_host:expr, $facts:ident => $from_facts:expr) => {
        match &$request.0 {
            Source::Lent($lent) => $from_host,
            Source::Made($facts) => $from_facts,
        }
    };
}

impl<'a> Request<'a> {
    /// A request for a test.
    pub fn of(facts: &'a Facts) -> Request<'a> {
        Request(Source::Made(facts))
    }

    pub(crate) fn lent(request: &'a wit::Request) -> Request<'a> {
        Request(Source::Lent(request))
    }

    /// The host's own handle, for the prefix index; `None` in a test.
    pub fn handle(&self) -> Option<&wit::Request> {
        asked!(self, lent => Some(lent), _facts => None)
    }

    /// Unique in the process.
    pub fn id(&self) -> u64 {
        asked!(self, lent => lent.id(), facts => facts.id)
    }

    /// The path asked for, e.g. `/v1/chat/completions`.
    pub fn endpoint(&self) -> String {
        asked!(self, lent => lent.endpoint(), facts => facts.endpoint.clone())
    }

    /// The model asked for.
    pub fn model(&self) -> String {
        asked!(self, lent => lent.model(), facts => facts.model.clone())
    }

    /// Who asks; `anonymous` where no key names a tenant.
    pub fn tenant(&self) -> String {
        asked!(self, lent => lent.tenant(), facts => facts.tenant.clone())
    }

    /// What ties the turns of one conversation together, when the client sends it.
    pub fn session(&self) -> Option<String> {
        asked!(self, lent => lent.session(), facts => facts.session.clone())
    }

    /// 0 is ordinary, higher is more urgent.
    pub fn priority(&self) -> u32 {
        asked!(self, lent => lent.priority(), facts => facts.priority)
    }

    /// Estimated prompt tokens.
    pub fn prompt_tokens_estimate(&self) -> u32 {
        asked!(self, lent => lent.prompt_tokens_estimate(), facts => facts.prompt_tokens_estimate)
    }

    /// The client's bound on output tokens; 0 when it gave none.
    pub fn output_tokens_max(&self) -> u32 {
        asked!(self, lent => lent.output_tokens_max(), facts => facts.output_tokens_max)
    }

    /// The client wants a stream.
    pub fn stream(&self) -> bool {
        asked!(self, lent => lent.stream(), facts => facts.stream)
    }

    /// How many proxies the request has passed before this one.
    pub fn hop(&self) -> u32 {
        asked!(self, lent => lent.hop(), facts => facts.hop)
    }

    /// Bytes of the prompt.
    pub fn prompt_bytes(&self) -> u32 {
        asked!(self, lent => lent.prompt_bytes(), facts => u32::try_from(facts.prompt.len()).unwrap_or(u32::MAX))
    }

    /// The prompt's text from byte `offset` on, at most `bytes_max` of it.
    pub fn prompt(&self, offset: u32, bytes_max: u32) -> Vec<u8> {
        asked!(self,
            lent => lent.prompt(offset, bytes_max),
            facts => facts.prompt.iter().skip(offset as usize).take(bytes_max as usize).copied().collect())
    }

    /// The prompt's token ids, when the client sent ids instead of text.
    pub fn tokens(&self) -> Vec<u32> {
        asked!(self, lent => lent.tokens(), facts => facts.tokens.clone())
    }

    /// Chained hashes over whole blocks of 256 prompt bytes: equal hashes mean equal prefixes up to there.
    pub fn block_hashes(&self) -> Vec<u64> {
        let joined = |hashes: Hashes| {
            hashes.low.iter().zip(&hashes.high).map(|(low, high)| u64::from(*high) << 32 | u64::from(*low)).collect()
        };
        asked!(self, lent => joined(lent.block_hashes()), facts => facts.block_hashes.clone())
    }

    /// Keeps a few bytes with the request: this slot's observe hook finds them in each of the request's events. Silent in
    /// a test.
    pub fn note(&self, note: &[u8]) {
        asked!(self, lent => lent.note(note), _facts => ());
    }

    /// A header by its lower-case name; only those that the operator lets policies see.
    pub fn header(&self, name: &str) -> Option<String> {
        asked!(self,
            lent => lent.header(name),
            facts => facts.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }
}
