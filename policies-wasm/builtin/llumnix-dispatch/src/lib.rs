//! Sends each request to the freest replica: the one whose KV blocks would last its batch for the most steps.
//!
//! Llumnix: "Llumnix: Dynamic Scheduling for Large Language Model Serving", OSDI 2024 (arXiv 2406.03243), the dispatching
//! part: freeness = (M - ΣV) / B over virtual usages V, with headroom for requests of high priority. Its live migration
//! is the engines' to do.

mod config;
mod freeness;

use headworks_policy::{
    Configure, Fleet, Mode, Place, Placement, Policy, Refusal, Request, buckets, chance, telemetry,
};

use config::Config;

/// Keeps its configuration only: which replicas run urgent requests is the host's to know.
#[derive(Debug, Default)]
pub struct LlumnixDispatch {
    config: Config,
}

/// Places that no fleet fills: they are taken to count requests, not to bound them.
const PLACES: u32 = u32::MAX;
/// Urgent requests everywhere.
const URGENT: &str = "urgent";

impl Policy for LlumnixDispatch {
    const NAME: &str = "llumnix-dispatch";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const MODE: Mode = Mode::Pooled;
    const CONFIG_SCHEMA: &str = config::SCHEMA;
}

impl Configure for LlumnixDispatch {
    fn configure(&mut self, json: &str) -> Result<(), Refusal> {
        self.config = Config::parse(json)?;
        Ok(())
    }
}

impl Place for LlumnixDispatch {
    fn place(&mut self, request: &Request<'_>, fleet: &Fleet) -> Placement {
        // One call where no urgent request runs, which is the rule, instead of one for each replica.
        let any_urgent = buckets::held(URGENT) > 0;
        let runs_urgent = |id: u32| any_urgent && buckets::held(&urgent_on(id)) > 0;
        let tokens = request.prompt_tokens_estimate();
        let Some(pick) = freeness::pick(fleet, tokens, &self.config, runs_urgent, chance::below) else {
            return Placement::Pass;
        };
        if request.priority() >= self.config.high_priority_min {
            for name in [URGENT, &urgent_on(pick.id)] {
                if !matches!(buckets::hold(name, PLACES), Ok(true)) {
                    telemetry::count("urgent_uncounted", 1);
                }
            }
        }
        telemetry::explain(&pick.why());
        Placement::Replica(pick.id)
    }
}

headworks_policy::export!(LlumnixDispatch: configure, place);

/// Urgent requests on a replica.
fn urgent_on(id: u32) -> String {
    format!("{URGENT} {id}")
}
