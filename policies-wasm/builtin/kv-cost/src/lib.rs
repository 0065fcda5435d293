//! Sends a request where the KV blocks that it would have to fill, and those at work there already, cost least.
//!
//! The cost of NVIDIA Dynamo's KV-aware router (github.com/ai-dynamo/dynamo, docs/architecture/kv_cache_routing): overlap
//! weight × potential prefill blocks + decode blocks; the least, or with a temperature a draw that favours the least.

mod config;
mod cost;

use headworks_policy::{
    Configure, Event, Fleet, Mode, Observe, Place, Placement, Policy, Prefix, Refusal, Request, chance, telemetry,
};

use config::Config;
use cost::Prompt;

/// Keeps its configuration only.
#[derive(Debug, Default)]
pub struct KvCost {
    config: Config,
}

impl Policy for KvCost {
    const NAME: &str = "kv-cost";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const MODE: Mode = Mode::Pooled;
    const CONFIG_SCHEMA: &str = config::SCHEMA;
}

impl Configure for KvCost {
    fn configure(&mut self, json: &str) -> Result<(), Refusal> {
        self.config = Config::parse(json)?;
        Ok(())
    }
}

impl Place for KvCost {
    fn place(&mut self, request: &Request<'_>, fleet: &Fleet) -> Placement {
        let prompt = Prompt {
            tokens: request.prompt_tokens_estimate(),
            bytes: request.prompt_bytes(),
            prefix: Prefix::on_replicas(request, fleet.id()),
        };
        let Some(pick) = cost::pick(fleet, &prompt, &self.config, chance::below, chance::next_u32) else {
            return Placement::Pass;
        };
        Prefix::remember_replica(request, pick.id);
        telemetry::explain(&pick.why());
        Placement::Replica(pick.id)
    }
}

impl Observe for KvCost {
    fn observe(&mut self, events: &[Event], _fleet: &Fleet) {
        Prefix::forget_lost(events);
    }
}

headworks_policy::export!(KvCost: configure, place, observe);
