//! Serves one checkpoint over the OpenAI wire format: HTTP at the door, one driver thread behind it.
//!
//! A request is read and checked ([`openai_api`]), rendered and tokenised, and goes through a bounded inbox to the
//! driver thread, which owns the scheduler and the model. Tokens come back through the request's own channel; they
//! become text, stop strings are cut, and the answer is streamed or collected.

mod config;
mod error;
mod serve;

mod answer;
mod body;
mod clock;
mod connections;
mod continuation;
mod detokenizer;
mod driver;
mod exchange;
mod generation;
mod http;
mod load;
mod metrics;
mod output;
mod push;
mod quoted;
mod refusal;
mod register;
mod sampler;
mod server;
mod stop;
mod tasks;
mod template;
mod vocabulary;

pub use config::Config;
pub use error::Error;
pub use register::{Registration, Token};
pub use serve::serve;
