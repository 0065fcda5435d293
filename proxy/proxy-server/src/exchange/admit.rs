//! Lets a request in, or does not: the policies' admit hooks.

use std::sync::Arc;

use dispatch::{Chain, Entry};
use policy_api::{Call, Hook, RequestFacts};
use telemetry::{SpanKind, names};

use crate::exchange::finish::Journal;
use crate::exchange::verdict::{Verdict, describe_decision};
use crate::exchange::{Refusal, place};
use crate::proxy::Proxy;

pub(crate) fn admit(
    proxy: &Proxy,
    journal: &mut Journal,
    chain: &Chain,
    facts: &Arc<RequestFacts>,
) -> Result<(), Refusal> {
    let span = journal.span.child("admit", SpanKind::Internal);
    let fleet = place::view(proxy, facts)?;
    if !chain.links().any(|link| link.has(Hook::Admit)) {
        span.set(names::VERDICT, Entry::Allowed.word());
        return Ok(());
    }
    let began = proxy.clock.now();
    let decision = chain.admit(&Call { now_ms: proxy.clock.now_ms(), facts, fleet: &fleet });
    journal.admitted(&decision, &fleet, began.elapsed());
    describe_decision(&span, &decision);
    match decision.verdict {
        Entry::Allowed => Ok(()),
        Entry::Denied(denial) => Err(Refusal::Denied(denial)),
    }
}
