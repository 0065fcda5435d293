//! The data path: one request from its head to its last byte, one call per step.

mod admit;
mod authenticate;
mod deadline;
mod facts;
mod finish;
mod hedge;
mod hops;
mod peek;
mod place;
mod read_request;
mod refusal;
mod relay;
mod resume;
mod send;
mod silence;
mod tunnel;
mod verdict;

use std::sync::Arc;

use dispatch::{Attempts, Next};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::proxy::Proxy;
use deadline::Deadline;
use facts::facts;
use finish::Journal;
use hedge::Hedging;
use tunnel::Switching;

pub(crate) use authenticate::authenticate;
pub(crate) use finish::Outcome;
pub(crate) use hops::ADDED_MAX as HEADERS_ADDED_MAX;
pub(crate) use read_request::{ReadRequest, read_request};
pub(crate) use refusal::Refusal;
pub(crate) use relay::ClientBody;

/// Answers one request of the data port.
pub(crate) async fn exchange(proxy: Arc<Proxy>, mut request: Request<Incoming>) -> Response<ClientBody> {
    let mut journal = Journal::open(&proxy, &request);
    let switching = Switching::of(&mut request);
    let protocol = switching.as_ref().map(|switching| switching.protocol.clone());
    match (serve(&proxy, &mut journal, request, protocol).await, switching) {
        (Ok((answer, _)), Some(switching)) if answer.head.status == StatusCode::SWITCHING_PROTOCOLS => {
            tunnel::tunnel(journal, answer, switching)
        }
        (Ok((answer, resumption)), _) => relay::relay(journal, answer, resumption),
        (Err(refusal), _) => journal.refuse(refusal),
    }
}

/// An answer that has begun, and what it needs to go on elsewhere.
type Begun = (send::Answer, Option<Box<resume::Resumption>>);

async fn serve(
    proxy: &Arc<Proxy>,
    journal: &mut Journal,
    request: Request<Incoming>,
    upgrade: Option<HeaderValue>,
) -> Result<Begun, Refusal> {
    journal.enter()?;
    let deadline = Deadline::of(request.headers(), Instant::now())?;
    journal.ends_by(deadline);
    proxy.count_request();
    let tenant = authenticate(&proxy.tenants, request.headers(), proxy.clock.now_unix_ms())?;
    let mut request = read_request(request, upgrade, &proxy.limits).await?;
    let facts = facts(proxy, &mut request, &tenant);
    journal.read(&request, &facts);

    // One chain for the whole request: none is decided by half a swap.
    let chain = proxy.policies.chain();
    let mut seen = Some(admit::admit(proxy, journal, &chain, &facts, &tenant)?);

    let mut attempts = Attempts::new(proxy.limits.tries_max, request.repeat);
    let mut last_failure = None;
    loop {
        let (placed, held) = match place::place(proxy, journal, &chain, &facts, &attempts.tried, seen.take()).await {
            Ok(placed) => placed,
            // With nobody left to try, what went wrong with the last one says more.
            Err(Refusal::NobodyTakesWork) => return Err(last_failure.unwrap_or(Refusal::NobodyTakesWork)),
            Err(refusal) => return Err(refusal),
        };
        let target = placed.target();
        attempts.begin();
        let hedging = Hedging { chain: &chain, facts: &facts, tried: &attempts.tried };
        match send::send(proxy, journal, &request, placed, held, Some(hedging)).await {
            Ok(answer) => {
                let replica = journal.ran_on();
                let keep = |replica| resume::Resumption::of(proxy, chain, facts, request, (replica, &answer.head));
                let resumption = replica.as_deref().and_then(keep);
                return Ok((answer, resumption));
            }
            Err(failed) => match proxy.after(&attempts, failed.failure) {
                Next::GiveUp => return Err(failed.refusal),
                Next::Retry => {
                    proxy.metrics.retries.inc();
                    target.mark_tried(&mut attempts.tried);
                    last_failure = Some(failed.refusal);
                }
            },
        }
    }
}
