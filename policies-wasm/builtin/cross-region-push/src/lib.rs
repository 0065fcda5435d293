//! Keeps requests in this region while a replica here has room, else pushes them to a region that has, else holds them.
//!
//! SkyWalker: "SkyWalker: A Locality-Aware Cross-Region Load Balancer for LLM Inference", EuroSys 2026
//! (arXiv 2505.24095), algorithm 1: selective pushing by pending requests (SP-P) or by outstanding ones (SP-O), a prefix
//! match for local replicas and one for regions, and nothing forwarded twice.

mod config;
mod pick;

use headworks_policy::{
    Configure, Event, Fleet, Mode, Observe, Place, Placement, Policy, Prefix, Refusal, Request, chance, telemetry,
};

use config::Config;
use pick::{Hop, Target};

/// Keeps its configuration only.
#[derive(Debug, Default)]
pub struct CrossRegionPush {
    config: Config,
}

impl Policy for CrossRegionPush {
    const NAME: &str = "cross-region-push";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const MODE: Mode = Mode::Pooled;
    const CONFIG_SCHEMA: &str = config::SCHEMA;
}

impl Configure for CrossRegionPush {
    fn configure(&mut self, json: &str) -> Result<(), Refusal> {
        self.config = Config::parse(json)?;
        Ok(())
    }
}

impl Place for CrossRegionPush {
    fn place(&mut self, request: &Request<'_>, fleet: &Fleet) -> Placement {
        let hop = if request.hop() == 0 { Hop::First } else { Hop::Forwarded };
        let picked = pick::pick(
            fleet,
            hop,
            &self.config,
            || Prefix::on_replicas(request, fleet.id()),
            || Prefix::on_regions(request, fleet.regions().id()),
            chance::below,
        );
        let Some((target, why)) = picked else { return Placement::Pass };
        telemetry::explain(&why.to_string());
        match target {
            Target::Replica(id) => {
                Prefix::remember_replica(request, id);
                Placement::Replica(id)
            }
            Target::Region(id) => {
                Prefix::remember_region(request, id);
                telemetry::count("pushed", 1);
                Placement::Region(id)
            }
            Target::Hold => Placement::Hold,
        }
    }
}

impl Observe for CrossRegionPush {
    fn observe(&mut self, events: &[Event], _fleet: &Fleet) {
        Prefix::forget_lost(events);
    }
}

headworks_policy::export!(CrossRegionPush: configure, place, observe);
