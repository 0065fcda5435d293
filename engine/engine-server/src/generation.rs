//! One request's generation, from its first event to its last: pieces of output out, times and counts kept.

use std::sync::Arc;
use std::time::Instant;

use openai_api::{FinishReason, Produced, Usage};
use telemetry::{Span, names};
use tokio::sync::mpsc;

use crate::answer::Endpoint;
use crate::clock;
use crate::driver::Event;
use crate::metrics::Metrics;
use crate::output::{Output, Piece, Shown};
use crate::server::InFlight;

/// A running generation. Dropping it early cancels it: the driver sees the closed channel and frees the blocks.
pub(crate) struct Generation {
    pub events: mpsc::Receiver<Event>,
    pub output: Output,
    pub record: Record,
    /// What the stream is to tell of its tokens with its next event, where it was asked to.
    pub produced: Option<Produced>,
}

/// What is new, and whether that was all.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub piece: Piece,
    pub finish: Option<FinishReason>,
}

/// What is remembered of a request, and reported when it ends, however it ends.
pub(crate) struct Record {
    pub endpoint: Endpoint,
    pub metrics: Arc<Metrics>,
    pub span: Span,
    pub received: Instant,
    pub prompt_tokens: u32,
    pub cached_tokens: u32,
    pub output_tokens: u32,
    pub started: Option<Instant>,
    pub first_token: Option<Instant>,
    pub latest_token: Option<Instant>,
    pub outcome: Outcome,
    /// Held for as long as the request is in flight.
    pub _in_flight: InFlight,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not at all so far: whoever is dropped like this lost its client.
    Cancelled,
    Finished(FinishReason),
    Failed,
}

impl Generation {
    /// Waits for more output. An error is a sentence for the client, and the end.
    pub async fn next(&mut self) -> Result<Progress, String> {
        let progress = self.receive().await;
        match &progress {
            Ok(Progress { finish: Some(reason), .. }) => {
                self.record.outcome = Outcome::Finished(*reason);
                self.events.close();
            }
            Ok(_) => {}
            Err(message) => {
                self.record.outcome = Outcome::Failed;
                self.record.span.fail(message.clone());
            }
        }
        progress
    }

    /// What it cost so far.
    pub fn usage(&self) -> Usage {
        let Record { prompt_tokens, cached_tokens, output_tokens, .. } = self.record;
        Usage::of(prompt_tokens, cached_tokens, output_tokens)
    }

    /// The line that tells of the tokens behind the next event; empty where nobody asked for it.
    pub fn produced_line(&mut self, progress: &Progress) -> Vec<u8> {
        let Some(produced) = &mut self.produced else { return Vec::new() };
        let told = std::mem::take(produced);
        Produced { last: progress.finish.is_some(), ..told }.to_line()
    }

    async fn receive(&mut self) -> Result<Progress, String> {
        match self.events.recv().await {
            Some(Event::Queued) => Ok(Progress::default()),
            Some(Event::Started { at, cached_tokens }) => {
                self.record.started = Some(at);
                // What another server cached of it, the usage says already.
                if self.record.output_tokens == 0 {
                    self.record.cached_tokens = cached_tokens;
                }
                if let Some(produced) = &mut self.produced {
                    produced.cached_tokens = Some(self.record.cached_tokens);
                }
                Ok(Progress::default())
            }
            Some(Event::Token { token, logprobs, at, finish }) => {
                self.record.output_tokens += 1;
                if let Some(produced) = &mut self.produced {
                    produced.tokens.push(token);
                }
                self.record.first_token.get_or_insert(at);
                self.record.latest_token = Some(at);
                let progress = match finish {
                    // The token that ends the output is no part of it.
                    Some(FinishReason::Stop) => self.output.finish().map(|shown| shown.or(FinishReason::Stop)),
                    Some(FinishReason::Length) => self.output.push(token, logprobs).and_then(|shown| match shown {
                        Shown::More(piece) => {
                            self.output.finish().map(|rest| rest.after(piece).or(FinishReason::Length))
                        }
                        stopped => Ok(stopped.into()),
                    }),
                    None => self.output.push(token, logprobs).map(Progress::from),
                };
                progress.map_err(|error| error.to_string())
            }
            Some(Event::Failed(reason)) => Err(format!("The generation failed: {reason}.")),
            Some(Event::Refused(refusal)) => Err(format!("The generation was refused: {refusal}.")),
            None => Err("The engine stopped.".to_owned()),
        }
    }
}

impl Shown {
    fn after(self, mut before: Piece) -> Shown {
        match self {
            Shown::More(piece) => {
                before.extend(piece);
                Shown::More(before)
            }
            Shown::Stopped(piece) => {
                before.extend(piece);
                Shown::Stopped(before)
            }
        }
    }

    /// The output is over, for this reason if no stop string ended it.
    fn or(self, reason: FinishReason) -> Progress {
        let progress = Progress::from(self);
        Progress { finish: progress.finish.or(Some(reason)), ..progress }
    }
}

impl From<Shown> for Progress {
    fn from(shown: Shown) -> Progress {
        match shown {
            Shown::More(piece) => Progress { piece, finish: None },
            Shown::Stopped(piece) => Progress { piece, finish: Some(FinishReason::Stop) },
        }
    }
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Cancelled => "cancelled",
            Outcome::Finished(FinishReason::Stop) => "stop",
            Outcome::Finished(FinishReason::Length) => "length",
            Outcome::Failed => "failed",
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let outcome = self.outcome.name();
        self.metrics.requests_total.with_label_values(&[self.endpoint.name(), outcome]).inc();
        if let Outcome::Finished(_) = self.outcome {
            let end = self.latest_token.unwrap_or(self.received);
            self.metrics.e2e_seconds.observe((end - self.received).as_secs_f64());
            self.span.set(names::RESPONSE_FINISH_REASONS, outcome);
        } else {
            self.span.set(names::ERROR_TYPE, outcome);
        }
        self.trace();
    }
}

impl Record {
    /// The request's span, and below it where its time went.
    fn trace(&self) {
        let phase = |name, from: Option<Instant>, to: Option<Instant>, attributes| {
            if let Some((from, to)) = from.zip(to) {
                self.span.child_between(name, clock::wall(from), clock::wall(to), attributes);
            }
        };
        let count = |tokens: u32| i64::from(tokens).into();
        phase("queue", Some(self.received), self.started, vec![]);
        let prompt =
            vec![(names::INPUT_TOKENS, count(self.prompt_tokens)), (names::CACHED_TOKENS, count(self.cached_tokens))];
        phase("prefill", self.started, self.first_token, prompt);
        phase("decode", self.first_token, self.latest_token, vec![(names::OUTPUT_TOKENS, count(self.output_tokens))]);
        self.span.set(names::INPUT_TOKENS, i64::from(self.prompt_tokens));
        self.span.set(names::CACHED_TOKENS, i64::from(self.cached_tokens));
        self.span.set(names::OUTPUT_TOKENS, i64::from(self.output_tokens));
        self.span.end();
    }
}
