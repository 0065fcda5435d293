//! Sends a request that waits for its answer to a second replica, and takes the answer that begins first.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dispatch::{Chain, Conduct, Repeat, Target, Tried};
use policy_api::{Call, Event, RequestFacts};

use crate::exchange::ReadRequest;
use crate::exchange::finish::Journal;
use crate::exchange::place::{self, Placed};
use crate::exchange::send::{Answer, Broke, begin};
use crate::fleet::{Replica, Ticket};
use crate::proxy::Proxy;

/// What a second sending is decided by.
#[derive(Clone, Copy)]
pub(crate) struct Hedging<'a> {
    pub chain: &'a Chain,
    pub facts: &'a Arc<RequestFacts>,
    pub tried: &'a Tried,
}

/// The second sending.
struct Second {
    replica: Arc<Replica>,
    ticket: Ticket,
    sent: Instant,
}

type Waiting<'a> = Pin<&'a mut (dyn Future<Output = Result<Answer, Broke>> + Send)>;

/// Waits for the answer of the first replica, and after a while for that of a second one too.
pub(crate) async fn hedged(
    proxy: &Proxy,
    journal: &mut Journal,
    request: &ReadRequest,
    mut first: Waiting<'_>,
    hedging: Option<Hedging<'_>>,
) -> Result<Answer, Broke> {
    let may = hedging.filter(|_| request.repeat == Repeat::Harmless);
    let Some((hedging, delay_us)) = may.zip(proxy.hedges().and_then(|mut hedges| hedges.request())) else {
        return first.await;
    };
    tokio::select! {
        biased;
        answer = &mut first => return answer,
        () = tokio::time::sleep(Duration::from_micros(delay_us)) => {}
    }
    let Some(second) = second(proxy, journal, hedging) else { return first.await };
    let placed = Placed::Replica(second.replica.clone());
    let sent = begin(proxy, journal, request, &placed);
    tokio::pin!(sent);
    let mut is_first_broken = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut first, if !is_first_broken => match answer {
                // Its failure is no answer while another may come.
                Err(broke) => {
                    journal.hedge_lost(&broke.error);
                    is_first_broken = true;
                }
                answered => {
                    journal.spares(second.replica.id);
                    proxy.metrics.hedges.with_label_values(&["first"]).inc();
                    return answered;
                }
            },
            answer = &mut sent => match answer {
                Ok(answer) => {
                    proxy.metrics.hedges.with_label_values(&["second"]).inc();
                    journal.moves_to(second.ticket, &placed, second.sent);
                    return Ok(answer);
                }
                Err(broke) if is_first_broken => {
                    journal.moves_to(second.ticket, &placed, second.sent);
                    return Err(broke);
                }
                Err(_) => {
                    let mut ticket = second.ticket;
                    ticket.conducts(proxy.clock.now_ms(), Conduct::Failed);
                    drop(ticket);
                    journal.spares(second.replica.id);
                    return first.await;
                }
            },
        }
    }
}

/// Where the policies want it a second time, if there is budget, and room at once.
fn second(proxy: &Proxy, journal: &mut Journal, hedging: Hedging<'_>) -> Option<Second> {
    let Hedging { chain, facts, tried } = hedging;
    let mut tried = tried.clone();
    tried.replicas.extend(journal.ran_on().map(|replica| replica.id));
    let fleet = proxy.fleet.view_without(&*place::view(proxy, facts).ok()?, &tried);
    if !fleet.takes_any_work() || !proxy.hedges()?.take() {
        return None;
    }
    let decision = chain.place(&Call { now_ms: proxy.clock.now_ms(), facts, fleet: &fleet }, &tried);
    let Target::Replica(id) = decision.verdict else { return None };
    let replica = proxy.fleet.replica(id)?.clone();
    let ticket = replica.ticket(proxy.limits.replica_in_flight_max, journal.prompt_tokens())?;
    replica.begins(proxy.clock.now_ms());
    proxy.fleet.mark();
    proxy.tell(|| Event::Started { subject: journal.subject(), replica: replica.id });
    Some(Second { replica, ticket, sent: proxy.clock.now() })
}
