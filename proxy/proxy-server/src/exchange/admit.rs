//! Lets a request in, or does not: the models there are for its tenant, the tenant's budget, the policies' admit hooks.

use std::sync::Arc;

use dispatch::{Chain, Entry};
use policy_api::{Call, FleetView, Hook, RequestFacts};
use telemetry::{SpanKind, names};

use crate::config::Tenant;
use crate::exchange::finish::Journal;
use crate::exchange::verdict::{Verdict, describe_decision};
use crate::exchange::{ReadRequest, Refusal, place};
use crate::proxy::Proxy;
use crate::tenants::Wants;

/// Answers with the fleet that was looked at.
pub(crate) fn admit(
    proxy: &Proxy,
    journal: &mut Journal,
    chain: &Chain,
    request: &ReadRequest,
    facts: &Arc<RequestFacts>,
    tenant: &Tenant,
) -> Result<Arc<FleetView>, Refusal> {
    let span = journal.span.child("admit", SpanKind::Internal);
    // What does not exist for this tenant costs it nothing, and is not told apart from what does not exist at all.
    if !facts.model.is_empty() && !tenant.may_use(&facts.model) {
        return Err(Refusal::UnknownModel { model: facts.model.clone() });
    }
    let fleet = place::view(proxy, facts, request.route.as_deref())?;
    let wants = wants(request, facts, proxy.limits.output_tokens_assumed);
    let reserved = tenant.account.begin(&tenant.budget, wants, proxy.clock.now_unix_ms()).map_err(Refusal::Spent)?;
    journal.is_charged_to(reserved);
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

/// What it may use: its prompt's tokens, and those that its client lets be made for each choice. Where the client gives no
/// bound, there must be room for one, and so many are spoken for as are `assumed`.
fn wants(request: &ReadRequest, facts: &RequestFacts, assumed: u32) -> Wants {
    let prompt = u64::from(facts.prompt_tokens_estimate);
    let choices = u64::from(request.fields.choices.max(1));
    let with = |output: u32| prompt.saturating_add(choices * u64::from(output));
    match (facts.output_tokens_max, request.endpoint.makes_tokens()) {
        (0, false) => Wants { least: prompt, most: prompt },
        (0, true) => Wants { least: with(1), most: with(assumed) },
        (most, _) => Wants { least: with(most), most: with(most) },
    }
}
