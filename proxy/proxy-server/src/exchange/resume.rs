//! Lets a stream go on at another replica when its own dies, from what its client has.

mod events;
mod graft;
mod request;
mod seam;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dispatch::{Attempts, Chain, Continues, Failure, Next, Repeat, ResumeMode, Resumed, Resumes, Sampling};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, HeaderName, StatusCode, response};
use openai_api::PRODUCED_HEADER;
use policy_api::{FailureKind, ReplicaId, RequestFacts};
use tokio::time::Instant;

use crate::exchange::finish::Journal;
use crate::exchange::place::{self, Placed};
use crate::exchange::read_request::Endpoint;
use crate::exchange::relay::is_of_events;
use crate::exchange::send::{self, Answer};
use crate::exchange::{ReadRequest, Refusal};
use crate::fleet::Replica;
use crate::proxy::Proxy;
use crate::wire::RawFields;
use seam::{Bounds, Form, Seam};

/// Asks a replica to tell its tokens.
const PRODUCED: HeaderName = HeaderName::from_static(PRODUCED_HEADER);

/// What is kept of a request while its answer streams.
pub(crate) struct Resumption {
    proxy: Arc<Proxy>,
    chain: Arc<Chain>,
    facts: Arc<RequestFacts>,
    request: ReadRequest,
    /// The body as the client sent it.
    body: Bytes,
    continues: Continues,
    resumes: Resumes,
    pub seam: Seam,
}

/// A stream that is being placed anew.
pub(crate) type GoingOn = Pin<Box<dyn Future<Output = WentOn> + Send>>;

/// How that went.
pub(crate) struct WentOn {
    pub resumption: Box<Resumption>,
    pub journal: Journal,
    pub answer: Result<Answer, Resumed>,
}

/// Says in a request to a replica whether it shall tell its tokens, which is not for clients to say.
pub(crate) fn ask_for_tokens(headers: &mut HeaderMap, proxy: &Proxy, request: &ReadRequest, placed: &Placed) {
    headers.remove(PRODUCED);
    if let Placed::Replica(replica) = placed
        && replica.continues() == Continues::Tokens
        && proxy.resume != ResumeMode::Off
        && form_of(request).is_some()
    {
        headers.insert(PRODUCED, HeaderValue::from_static("1"));
    }
}

fn form_of(request: &ReadRequest) -> Option<Form> {
    match request.endpoint {
        _ if !request.fields.stream => None,
        Endpoint::Chat => Some(Form::Chat),
        Endpoint::Completions => Some(Form::Completion),
        Endpoint::Embeddings | Endpoint::Responses | Endpoint::Messages | Endpoint::Rerank | Endpoint::Other => None,
    }
}

/// Whether an answer is a stream whose events can be read.
pub(crate) fn is_stream(head: &response::Parts) -> bool {
    let headers = &head.headers;
    head.status == StatusCode::OK
        && is_of_events(headers)
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_LENGTH)
}

impl Resumption {
    /// What is to be kept of a request whose answer has begun, if it may have to go on elsewhere.
    pub fn of(
        proxy: &Arc<Proxy>,
        chain: Arc<Chain>,
        facts: Arc<RequestFacts>,
        request: ReadRequest,
        begun: (&Replica, &response::Parts),
    ) -> Option<Box<Resumption>> {
        let (replica, head) = begun;
        let form = form_of(&request)?;
        let continues = replica.continues();
        let greedy = request.fields.temperature == Some(0.0);
        let sampling = if greedy { Sampling::Greedy } else { Sampling::Drawn };
        if !is_stream(head) || !Resumes::keeps(proxy.resume, continues, sampling) {
            return None;
        }
        let limits = &proxy.limits;
        let bounds = Bounds { kept_bytes_max: limits.resume_bytes_max, event_bytes_max: limits.peek_bytes_max };
        Some(Box::new(Resumption {
            proxy: proxy.clone(),
            chain,
            facts,
            body: request.body.clone(),
            request,
            continues,
            resumes: Resumes::new(proxy.resume, limits.resumes_max),
            seam: Seam::new(continues, form, bounds),
        }))
    }

    /// Counts the death of the stream's replica, and writes the request that continues it, or says why that cannot be.
    pub fn died(&mut self) -> Result<(), Resumed> {
        self.seam.cut()?;
        self.request.body = match self.seam.kept() {
            // The client has nothing: the request as it was.
            None => {
                self.resumes.died(self.continues, Sampling::Greedy)?;
                self.body.clone()
            }
            Some(kept) => {
                let fields = RawFields::of(&self.body).ok_or(Resumed::Shape)?;
                self.resumes.died(self.continues, request::sampling(&fields))?;
                request::continuing(self.request.endpoint, &fields, kept)?.into()
            }
        };
        Ok(())
    }

    /// How long a replica may be silent while another one could go on.
    pub fn stall_max(&self) -> Duration {
        Duration::from_millis(self.proxy.limits.stall_ms_max)
    }

    /// Whether a replica other than this one could take the stream.
    pub fn has_elsewhere(&self, than: ReplicaId) -> bool {
        place::view(&self.proxy, &self.facts).is_ok_and(|fleet| {
            (0..fleet.len()).any(|row| fleet.id[row] != than.0 && fleet.takes_work(row) && self.fits_id(fleet.id[row]))
        })
    }

    fn fits_id(&self, id: u32) -> bool {
        self.proxy.fleet.replica(ReplicaId(id)).is_some_and(|replica| replica.continues() == self.continues)
    }

    /// Places it anew, and waits for the first byte.
    pub fn go_on(mut self: Box<Self>, mut journal: Journal, from: Option<ReplicaId>) -> GoingOn {
        Box::pin(async move {
            let answer = self.tried(&mut journal, from).await;
            WentOn { resumption: self, journal, answer }
        })
    }

    async fn tried(&mut self, journal: &mut Journal, from: Option<ReplicaId>) -> Result<Answer, Resumed> {
        let Resumption { proxy, chain, facts, request, continues, .. } = self;
        journal.try_failed(FailureKind::Replica);
        let deadline = journal.deadline().or(Instant::now() + Duration::from_millis(proxy.limits.hold_ms_max));
        let mut attempts = Attempts::new(proxy.limits.tries_max, Repeat::Harmless);
        attempts.tried.replicas.extend(from);
        loop {
            let _awaits = proxy.fleet.awaits();
            let changed = proxy.fleet.changed();
            let (placed, held) = match place::place(proxy, journal, chain, facts, &attempts.tried, None).await {
                Ok(placed) => placed,
                // One that died may come back: the client has waited for less.
                Err(Refusal::NobodyTakesWork) => {
                    tokio::time::timeout_at(deadline, changed).await.map_err(|_| Resumed::Nobody)?;
                    attempts.tried = dispatch::Tried::default();
                    continue;
                }
                Err(_) => return Err(Resumed::Nobody),
            };
            attempts.begin();
            proxy.metrics.retries.inc();
            let target = placed.target();
            let fits = matches!(&placed, Placed::Replica(replica) if replica.continues() == *continues);
            let next = match fits {
                false => attempts.after(Failure::NotConnected),
                true => match send::send(proxy, journal, request, placed, held, None).await {
                    Ok(answer) if is_stream(&answer.head) => return Ok(answer),
                    Ok(_) => {
                        journal.try_failed(FailureKind::Refused);
                        proxy.after(&attempts, Failure::Busy)
                    }
                    Err(failed) => proxy.after(&attempts, failed.failure),
                },
            };
            match next {
                Next::GiveUp => return Err(Resumed::Nobody),
                Next::Retry => target.mark_tried(&mut attempts.tried),
            }
        }
    }
}
