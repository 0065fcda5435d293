//! Goes on with a stream that another server began: its tokens count, and its client sees none of them twice.

use openai_api::{CONTINUATION_FIELD, Continuation, Delivery, ErrorBody, Options};

use crate::output::Output;
use crate::refusal::Refusal;
use crate::server::Server;

/// The tokens that a stream's client has; none of a stream that begins here.
#[derive(Default)]
pub(crate) struct Begun {
    pub tokens: Vec<u32>,
    pub seed: Option<u64>,
    pub cached_tokens: u32,
}

impl Begun {
    /// What the client has, if there is room for more.
    pub fn of(options: &Options, output_tokens_max: u32) -> Result<Begun, Refusal> {
        let Some(continuation) = &options.continuation else { return Ok(Begun::default()) };
        let Continuation { tokens, seed, cached_tokens, .. } = continuation.clone();
        match tokens.len() < output_tokens_max as usize {
            true => Ok(Begun { tokens, seed, cached_tokens }),
            false => Err(refused(&format!("has {} tokens; the request's bound is {output_tokens_max}", tokens.len()))),
        }
    }

    pub fn count(&self) -> u32 {
        u32::try_from(self.tokens.len()).expect("of() holds them against a u32")
    }
}

/// The output as it is after what the client has of it.
pub(crate) fn replayed(mut output: Output, options: &Options, server: &Server) -> Result<Output, Refusal> {
    let Some(Continuation { tokens, .. }) = &options.continuation else { return Ok(output) };
    if options.delivery == Delivery::Whole {
        return Err(refused("goes on with a stream; set 'stream' to true"));
    }
    if options.logprobs.is_some() {
        return Err(refused("cannot go on with log probabilities; leave them out"));
    }
    let facts = &server.facts;
    if tokens.len() >= facts.context_tokens_max as usize {
        return Err(refused(&format!("has more tokens than the context of {}", facts.context_tokens_max)));
    }
    if let Some(token) = tokens.iter().find(|token| **token >= facts.vocabulary_size) {
        return Err(refused(&format!("must hold token ids below {}, not {token}", facts.vocabulary_size)));
    }
    match output.replay(tokens).map_err(|error| Refusal::failed(error.to_string()))? {
        true => Ok(output),
        false => Err(refused("has tokens in which a stop string has ended the output already")),
    }
}

fn refused(what: &str) -> Refusal {
    let message = format!("'{CONTINUATION_FIELD}' {what}.");
    ErrorBody::invalid_request(message).param(CONTINUATION_FIELD).into()
}
