//! Makes the facts that policies see of a request.

use std::sync::Arc;

use policy_api::RequestFacts;

use crate::exchange::hops::{HOP, SESSION};
use crate::exchange::{ReadRequest, Tenant};
use crate::proxy::Proxy;

/// Bytes of English that make a token, roughly.
const BYTES_PER_TOKEN: usize = 4;

#[expect(clippy::field_reassign_with_default, reason = "facts have a field of their own that is private")]
pub(crate) fn facts(proxy: &Proxy, request: &ReadRequest, tenant: Tenant) -> Arc<RequestFacts> {
    let text = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let fields = &request.fields;
    let mut facts = RequestFacts::default();
    facts.id = proxy.next_id();
    facts.model = fields.model.clone().unwrap_or_default();
    facts.tenant = tenant.0;
    facts.session = text(SESSION).map(str::to_owned).or_else(|| fields.session.clone());
    facts.prompt_tokens_estimate = (fields.prompt.len().div_ceil(BYTES_PER_TOKEN) + fields.tokens.len()) as u32;
    facts.output_tokens_max = fields.output_tokens_max;
    facts.stream = fields.stream;
    facts.hop = text(HOP).and_then(|hop| hop.parse().ok()).unwrap_or(0);
    facts.prompt = fields.prompt.clone();
    facts.tokens = fields.tokens.clone();
    facts.headers = proxy
        .policy_headers
        .iter()
        .filter_map(|name| Some((name.as_str().to_owned(), text(name.as_str())?.to_owned())))
        .collect();
    Arc::new(facts)
}
