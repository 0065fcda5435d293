//! Sends a request to a replica that has seen the beginning of its prompt, unless that replica is too busy.
//!
//! Three rules: SGLang's `cache_aware` router (sgl-router; Zheng et al., "SGLang", NeurIPS 2024), AIBrix's `prefix-cache`
//! (arXiv 2504.03648), and our own, which leaves out busy replicas one by one.

mod config;
mod pick;

use headworks_policy::{
    Configure, Event, Fleet, Mode, Observe, Place, Placement, Policy, Prefix, Refusal, Request, chance, telemetry,
};

use config::Config;

/// Keeps its configuration only: who has seen which prefix is the host's to know.
#[derive(Debug, Default)]
pub struct PrefixTree {
    config: Config,
}

impl Policy for PrefixTree {
    const NAME: &str = "prefix-tree";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const MODE: Mode = Mode::Pooled;
    const CONFIG_SCHEMA: &str = config::SCHEMA;
}

impl Configure for PrefixTree {
    fn configure(&mut self, json: &str) -> Result<(), Refusal> {
        self.config = Config::parse(json)?;
        Ok(())
    }
}

impl Place for PrefixTree {
    fn place(&mut self, request: &Request<'_>, fleet: &Fleet) -> Placement {
        let prefix = Prefix::on_replicas(request, fleet.id());
        let Some(pick) = pick::pick(fleet, &prefix, &self.config, chance::below) else { return Placement::Pass };
        Prefix::remember_replica(request, pick.id);
        telemetry::explain(&pick.why(prefix.blocks));
        Placement::Replica(pick.id)
    }
}

impl Observe for PrefixTree {
    fn observe(&mut self, events: &[Event], _fleet: &Fleet) {
        Prefix::forget_lost(events);
    }
}

headworks_policy::export!(PrefixTree: configure, place, observe);
