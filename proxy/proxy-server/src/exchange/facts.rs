//! Makes the facts that policies see of a request.

use std::sync::{Arc, OnceLock};

use http::HeaderName;
use policy_api::RequestFacts;

use crate::config::Tenant;
use crate::exchange::ReadRequest;
use crate::exchange::hops::{HOP, SESSION};
use crate::proxy::Proxy;

/// Bytes of English that make a token, roughly.
const BYTES_PER_TOKEN: usize = 4;

/// The prompt and its tokens move from the request into the facts: nobody else reads them.
pub(crate) fn facts(proxy: &Proxy, request: &mut ReadRequest, tenant: &Tenant) -> Arc<RequestFacts> {
    let ReadRequest { headers, fields, path, route, .. } = request;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let seen = |name: &HeaderName| Some((name.as_str().to_owned(), text(name.as_str())?.to_owned()));
    Arc::new(RequestFacts {
        id: proxy.next_id(),
        endpoint: crate::wire::cut(path.path()).to_owned(),
        model: fields.model.take().or_else(|| route.as_ref()?.model.clone()).unwrap_or_default(),
        tenant: tenant.name.to_string(),
        session: text(SESSION).map(str::to_owned).or_else(|| fields.session.take()),
        priority: tenant.priority,
        prompt_tokens_estimate: (fields.prompt.len().div_ceil(BYTES_PER_TOKEN) + fields.tokens.len()) as u32,
        output_tokens_max: fields.output_tokens_max,
        stream: fields.stream,
        hop: text(HOP).and_then(|hop| hop.parse().ok()).unwrap_or(0),
        headers: proxy.policy_headers.iter().filter_map(seen).collect(),
        prompt: std::mem::take(&mut fields.prompt),
        tokens: std::mem::take(&mut fields.tokens),
        block_hashes: OnceLock::new(),
    })
}
