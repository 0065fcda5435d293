//! Sends a request where its uncached tokens times the batch are least.
//!
//! LMetric: "LMetric: Simple is Better - Multiplication May Be All You Need for LLM Request Scheduling", OSDI 2026
//! (arXiv 2603.15202). Two measures that want to be weighed against each other, prefill work and decode batch, are
//! multiplied instead, so that there is no weight to tune.

mod config;
mod pick;

use headworks_policy::{
    Configure, Event, Fleet, Mode, Observe, Place, Placement, Policy, Prefix, Refusal, Request, chance, telemetry,
};

use config::Config;
use pick::Prompt;

/// Keeps its configuration only.
#[derive(Debug, Default)]
pub struct Lmetric {
    config: Config,
}

impl Policy for Lmetric {
    const NAME: &str = "lmetric";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const MODE: Mode = Mode::Pooled;
    const CONFIG_SCHEMA: &str = config::SCHEMA;
}

impl Configure for Lmetric {
    fn configure(&mut self, json: &str) -> Result<(), Refusal> {
        self.config = Config::parse(json)?;
        Ok(())
    }
}

impl Place for Lmetric {
    fn place(&mut self, request: &Request<'_>, fleet: &Fleet) -> Placement {
        let prompt = Prompt {
            tokens: request.prompt_tokens_estimate(),
            bytes: request.prompt_bytes(),
            prefix: Prefix::on_replicas(request, fleet.id()),
        };
        let Some(pick) = pick::pick(fleet, &prompt, &self.config, chance::below) else { return Placement::Pass };
        Prefix::remember_replica(request, pick.id);
        telemetry::explain(&pick.why());
        Placement::Replica(pick.id)
    }
}

impl Observe for Lmetric {
    fn observe(&mut self, events: &[Event], _fleet: &Fleet) {
        Prefix::forget_lost(events);
    }
}

headworks_policy::export!(Lmetric: configure, place, observe);
