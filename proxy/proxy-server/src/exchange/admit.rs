//! Lets a request in, or does not: the models there are for its tenant, the tenant's budget, the policies' admit hooks.

use std::sync::Arc;

use dispatch::{Chain, Entry};
use policy_api::{Call, FleetView, Hook, RequestFacts};
use telemetry::{SpanKind, names};

use crate::config::Tenant;
use crate::exchange::finish::Journal;
use crate::exchange::verdict::{Verdict, describe_decision};
use crate::exchange::{Refusal, place};
use crate::proxy::Proxy;

/// Answers with the fleet that was looked at.
pub(crate) fn admit(
    proxy: &Proxy,
    journal: &mut Journal,
    chain: &Chain,
    facts: &Arc<RequestFacts>,
    tenant: &Tenant,
) -> Result<Arc<FleetView>, Refusal> {
    let span = journal.span.child("admit", SpanKind::Internal);
    // What does not exist for this tenant costs it nothing, and is not told apart from what does not exist at all.
    if !facts.model.is_empty() && !tenant.may_use(&facts.model) {
        return Err(Refusal::UnknownModel { model: facts.model.clone() });
    }
    let fleet = place::view(proxy, facts)?;
    tenant.account.begin(&tenant.budget, proxy.clock.now_unix_ms()).map_err(Refusal::Spent)?;
    journal.is_charged_to(tenant.account.clone());
    if !chain.links().any(|link| link.has(Hook::Admit)) {
        span.set(names::VERDICT, Entry::Allowed.word());
        return Ok(fleet);
    }
    let began = proxy.clock.now();
    let decision = chain.admit(&Call { now_ms: proxy.clock.now_ms(), facts, fleet: &fleet });
    journal.admitted(&decision, &fleet, began.elapsed());
    describe_decision(&span, &decision);
    match decision.verdict {
        Entry::Allowed => Ok(fleet),
        Entry::Denied(denial) => Err(Refusal::Denied(denial)),
    }
}
