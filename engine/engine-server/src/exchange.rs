//! The data path: one request from its bytes to its answer.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, StatusCode, header};
use openai_api::{
    ChatRequest, CompletionRequest, DONE_FRAME, Delivery, ErrorBody, Message, Options, PRODUCED_HEADER, Produced,
    Prompt, frame,
};
use telemetry::{Span, SpanKind, names};
use tokio::sync::mpsc::error::TrySendError;

use crate::answer::{Answer, Endpoint, Logprobs};
use crate::body::read_body;
use crate::clock;
use crate::continuation::{self, Begun};
use crate::driver::{Event, Job, events};
use crate::generation::{Generation, Outcome, Progress, Record};
use crate::metrics::raise;
use crate::output::{Output, Piece};
use crate::quoted::Quoted;
use crate::refusal::{Exceeded, Refusal};
use crate::sampler::Sampler;
use crate::server::{Health, InFlight, Server};
use crate::template::RenderError;

/// What one request has with it on its way.
struct Exchange {
    endpoint: Endpoint,
    server: Arc<Server>,
    span: Span,
    received: Instant,
}

/// A request as either endpoint reads it.
struct Asked {
    model: String,
    input: Input,
    options: Options,
}

/// A request, ready but for its place in the batch.
struct Tokenized {
    prompt: Vec<u32>,
    options: Options,
    output: Output,
}

/// What the driver and the client's stream are to do.
struct Work {
    prompt: Vec<u32>,
    output: Output,
    output_tokens_max: u32,
    begun: Begun,
    wants_produced: bool,
}

enum Input {
    Messages(Vec<Message>),
    Prompt(Prompt),
}

/// Output tokens of a completion that names no bound, as OpenAI has it. A chat may go on to the end of the context.
const COMPLETION_TOKENS_DEFAULT: u32 = 16;

/// Answers one request, well or badly.
pub(crate) async fn exchange(endpoint: Endpoint, server: Arc<Server>, headers: HeaderMap, body: Body) -> Response {
    let span = server.tracer.from_headers(endpoint.operation(), SpanKind::Server, &headers);
    span.set(names::OPERATION, endpoint.operation());
    span.set(names::PROVIDER, "headworks");
    let exchange = Exchange { endpoint, server, span, received: clock::now() };
    match exchange.run(&headers, body).await {
        Ok(response) => response,
        Err(refusal) => {
            exchange.refused(&refusal);
            refusal.into_response()
        }
    }
}

impl Exchange {
    async fn run(&self, headers: &HeaderMap, body: Body) -> Result<Response, Refusal> {
        let in_flight = self.admit()?;
        let body = read_body(headers, body, self.server.body_bounds).await?;
        raise(&self.server.metrics.body_bytes_largest, body.len());
        let asked = self.read(&body)?;
        self.check_model(&asked.model)?;
        let Tokenized { prompt, options, output } = self.tokenize(asked).await?;
        let output_tokens_max = self.fit(&prompt, &options)?;
        let begun = Begun::of(&options, output_tokens_max)?;
        let answer = self.answer(&options);
        let wants_produced = headers.contains_key(PRODUCED_HEADER);
        let work = Work { prompt, output, output_tokens_max, begun, wants_produced };
        let generation = self.submit(work, &options, in_flight).await?;
        self.span.set(names::RESPONSE_ID, answer.id.clone());
        self.span.set(names::HTTP_STATUS, i64::from(StatusCode::OK.as_u16()));
        match answer.delivery {
            Delivery::Whole => collect(generation, answer).await,
            Delivery::Stream | Delivery::StreamWithUsage => Ok(relay(generation, answer)),
        }
    }

    fn admit(&self) -> Result<InFlight, Refusal> {
        if self.server.health() != Health::Ok {
            return Err(Refusal::stopping());
        }
        let max = self.server.requests_max;
        self.server.take_in().ok_or_else(|| Refusal::busy("requests are in flight", max))
    }

    fn read(&self, body: &[u8]) -> Result<Asked, ErrorBody> {
        match self.endpoint {
            Endpoint::Chat => {
                let ChatRequest { model, messages, options } = ChatRequest::from_json(body)?;
                Ok(Asked { model, input: Input::Messages(messages), options })
            }
            Endpoint::Completions => {
                let CompletionRequest { model, prompt, options } = CompletionRequest::from_json(body)?;
                Ok(Asked { model, input: Input::Prompt(prompt), options })
            }
        }
    }

    fn check_model(&self, asked: &str) -> Result<(), Refusal> {
        let served = &self.server.facts.name;
        self.span.set(names::REQUEST_MODEL, asked.to_owned());
        self.span.set(names::RESPONSE_MODEL, served.clone());
        if asked == served { Ok(()) } else { Err(Refusal::no_such_model(asked, served)) }
    }

    /// Off the async threads: megabytes of text take a while. A client that leaves gives up its turn only when it is over.
    async fn tokenize(&self, asked: Asked) -> Result<Tokenized, Refusal> {
        let Asked { input, options, .. } = asked;
        let server = self.server.clone();
        let turn = server.tokenize.clone().acquire_owned().await.expect("nobody closes it");
        let tokens = tokio::task::spawn_blocking(move || {
            let tokenized = tokens_of(input, &server).and_then(|prompt| {
                let output = Output::new(server.vocabulary.clone(), options.stop.clone());
                let output = continuation::replayed(output, &options, &server)?;
                Ok(Tokenized { prompt, options, output })
            });
            drop(turn);
            tokenized
        });
        tokens.await.map_err(|error| Refusal::failed(format!("The tokenizer failed: {error}.")))?
    }

    /// How many tokens may come out, if the whole fits the context.
    fn fit(&self, prompt: &[u32], options: &Options) -> Result<u32, Refusal> {
        let context_tokens_max = self.server.facts.context_tokens_max;
        let prompt_tokens = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
        let room = context_tokens_max.saturating_sub(prompt_tokens);
        let asked = options.output_tokens_max;
        if room == 0 || asked.is_some_and(|output| output > room) {
            let output_tokens = asked.filter(|_| room > 0);
            let param = match (output_tokens, self.endpoint) {
                (Some(_), _) => "max_tokens",
                (None, Endpoint::Chat) => "messages",
                (None, Endpoint::Completions) => "prompt",
            };
            let exceeded = Exceeded { prompt_tokens, output_tokens, context_tokens_max };
            return Err(Refusal::context_exceeded(exceeded, param));
        }
        let output = match self.endpoint {
            Endpoint::Chat => asked.unwrap_or(room),
            Endpoint::Completions => asked.unwrap_or(COMPLETION_TOKENS_DEFAULT.min(room)),
        };
        raise(&self.server.metrics.sequence_tokens_largest, (prompt_tokens + output) as usize);
        Ok(output)
    }

    fn answer(&self, options: &Options) -> Answer {
        let (id, created, opened) = match &options.continuation {
            Some(begun) => (begun.id.clone(), begun.created, begun.opened),
            None => {
                let id = format!("{}{:032x}", self.endpoint.id_prefix(), rand::random::<u128>());
                (id, clock::unix(self.received).as_secs(), false)
            }
        };
        Answer {
            endpoint: self.endpoint,
            id,
            created,
            opened,
            model: self.server.facts.name.clone(),
            delivery: options.delivery,
            logprobs: if options.logprobs.is_some() { Logprobs::Wanted } else { Logprobs::Unwanted },
        }
    }

    /// Hands the prompt to the driver and waits until it is in the queue, or not.
    async fn submit(&self, work: Work, options: &Options, in_flight: InFlight) -> Result<Generation, Refusal> {
        let Work { mut prompt, output, output_tokens_max, begun, wants_produced } = work;
        self.span.set(names::REQUEST_MAX_TOKENS, i64::from(output_tokens_max));
        self.span.set(names::REQUEST_TEMPERATURE, f64::from(options.sampling.temperature));
        let prompt_tokens = u32::try_from(prompt.len()).expect("fit() bounds the prompt");
        let seed = options.sampling.seed.or(begun.seed).unwrap_or_else(rand::random);
        let mut sampler = Sampler::new(options.sampling, seed, options.logprobs);
        sampler.skip(begun.tokens.len());
        prompt.extend(&begun.tokens);
        let output_tokens_left = output_tokens_max - begun.count();
        let (sender, mut receiver) = events(output_tokens_left);
        let job =
            Job { prompt, output_tokens_max: output_tokens_left, sampler, received: self.received, events: sender };
        self.server.inbox.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => {
                Refusal::busy("requests are on their way to the batch", self.server.inbox.max_capacity())
            }
            TrySendError::Closed(_) => Refusal::stopping(),
        })?;
        match receiver.recv().await {
            Some(Event::Refused(engine_scheduler::Refusal::QueueFull { waiting_max })) => {
                return Err(Refusal::busy("requests wait for the batch", waiting_max as usize));
            }
            Some(Event::Refused(other)) => return Err(Refusal::failed(format!("The scheduler refused: {other}."))),
            Some(_) => {}
            None => return Err(Refusal::stopping()),
        }
        let record = self.record(prompt_tokens, &begun, in_flight);
        let produced = wants_produced.then(|| Produced { seed: Some(seed), ..Produced::default() });
        Ok(Generation { events: receiver, output, record, produced })
    }

    fn record(&self, prompt_tokens: u32, begun: &Begun, in_flight: InFlight) -> Record {
        Record {
            endpoint: self.endpoint,
            metrics: self.server.metrics.clone(),
            span: self.span.clone(),
            received: self.received,
            prompt_tokens,
            cached_tokens: begun.cached_tokens,
            output_tokens: begun.count(),
            started: None,
            first_token: None,
            latest_token: None,
            outcome: Outcome::Cancelled,
            _in_flight: in_flight,
        }
    }

    fn refused(&self, refusal: &Refusal) {
        let Refusal { status, body, .. } = refusal;
        self.server.metrics.requests_total.with_label_values(&[self.endpoint.name(), "refused"]).inc();
        self.span.set(names::HTTP_STATUS, i64::from(status.as_u16()));
        self.span.set(names::ERROR_TYPE, body.error.code.clone().unwrap_or_else(|| body.error.kind.clone()));
        if status.is_server_error() {
            self.span.fail(body.error.message.clone());
        }
    }
}

fn tokens_of(input: Input, server: &Server) -> Result<Vec<u32>, Refusal> {
    let vocabulary = &server.vocabulary;
    let failed = |error: crate::Error| Refusal::failed(error.to_string());
    let tokens = match input {
        Input::Messages(messages) => {
            let quoted = Quoted::new(messages, vocabulary.specials()).ok_or_else(no_mark_left)?;
            let text = render(&quoted.messages, server)?;
            let pieces = quoted.pieces(&text);
            refuse_too_long(pieces.iter().map(|piece| piece.len()).sum(), "messages", server)?;
            vocabulary.encode_chat(&pieces).map_err(failed)?
        }
        Input::Prompt(Prompt::Text(text)) => {
            refuse_too_long(text.len(), "prompt", server)?;
            vocabulary.encode_prompt(&text).map_err(failed)?
        }
        Input::Prompt(Prompt::Tokens(tokens)) => tokens,
    };
    let size = server.facts.vocabulary_size;
    if let Some(token) = tokens.iter().find(|token| **token >= size) {
        let message = format!("'prompt' must hold token ids below {size}, not {token}.");
        return Err(ErrorBody::invalid_request(message).param("prompt").into());
    }
    if tokens.is_empty() {
        return Err(ErrorBody::invalid_request("'prompt' must hold at least one token; it is empty.")
            .param("prompt")
            .into());
    }
    Ok(tokens)
}

/// Spares the tokenizer what no tokens of this vocabulary could make fit.
fn refuse_too_long(bytes: usize, param: &str, server: &Server) -> Result<(), Refusal> {
    let context_tokens_max = server.facts.context_tokens_max;
    match server.vocabulary.tokens_least(bytes) {
        tokens_least if tokens_least < context_tokens_max as usize => Ok(()),
        tokens_least => Err(Refusal::prompt_exceeds(tokens_least, context_tokens_max, param)),
    }
}

fn no_mark_left() -> Refusal {
    let message = "The messages spell special tokens and hold every private-use character from U+F0000 to U+FFFFD; leave out either.";
    ErrorBody::invalid_request(message).param("messages").into()
}

fn render(messages: &[Message], server: &Server) -> Result<String, Refusal> {
    let Some(template) = &server.template else {
        let message = "This checkpoint has no chat template (chat_template in tokenizer_config.json, or chat_template.jinja); use /v1/completions.";
        return Err(ErrorBody::invalid_request(message).param("messages").code("no_chat_template").into());
    };
    template.render(messages).map_err(|error| match error {
        RenderError::Refused(words) => {
            let message = format!("The model's chat template refuses these messages: {words}");
            ErrorBody::invalid_request(message).param("messages").into()
        }
        RenderError::Broken(words) => Refusal::failed(format!("The model's chat template is broken: {words}")),
    })
}

async fn collect(mut generation: Generation, answer: Answer) -> Result<Response, Refusal> {
    let mut whole = Piece::default();
    loop {
        let Progress { piece, finish } = generation.next().await.map_err(Refusal::failed)?;
        whole.extend(piece);
        if let Some(finish) = finish {
            let body = answer.whole(whole, finish, generation.usage());
            return Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response());
        }
    }
}

/// A stream that is pulled by the client: when it leaves, the stream is dropped, and the generation with it.
fn relay(generation: Generation, answer: Answer) -> Response {
    enum Stage {
        Opening(Generation, Answer),
        Going(Generation, Answer),
        Over,
    }
    let frames = stream::unfold(Stage::Opening(generation, answer), |stage| async move {
        let (mut generation, answer, mut bytes) = match stage {
            Stage::Opening(generation, answer) => {
                let opening = if answer.opened { Vec::new() } else { answer.opening() };
                (generation, answer, opening)
            }
            Stage::Going(generation, answer) => (generation, answer, Vec::new()),
            Stage::Over => return None,
        };
        let progress = loop {
            match generation.next().await {
                Ok(progress) if progress.piece.is_empty() && progress.finish.is_none() => {}
                other => break other,
            }
        };
        let next = match progress {
            Ok(progress) => {
                let finished = progress.finish.is_some();
                bytes.extend(generation.produced_line(&progress));
                bytes.extend(answer.frames(progress));
                if finished {
                    bytes.extend(answer.closing(generation.usage()));
                    bytes.extend_from_slice(DONE_FRAME);
                    Stage::Over
                } else {
                    Stage::Going(generation, answer)
                }
            }
            Err(message) => {
                bytes.extend(frame(&ErrorBody::server(message)));
                Stage::Over
            }
        };
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(bytes)), next))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(frames)).into_response()
}
