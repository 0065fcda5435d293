//! Sends each request to the replica with the least to do.

mod config;
mod pick;

use headworks_policy::{Configure, Fleet, Mode, Place, Placement, Policy, Refusal, Request, chance, telemetry};

use config::Config;

/// Keeps its configuration only.
#[derive(Debug, Default)]
pub struct LeastLoad {
    config: Config,
}

impl Policy for LeastLoad {
    const NAME: &str = "least-load";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const MODE: Mode = Mode::Pooled;
    const CONFIG_SCHEMA: &str = config::SCHEMA;
}

impl Configure for LeastLoad {
    fn configure(&mut self, json: &str) -> Result<(), Refusal> {
        self.config = Config::parse(json)?;
        Ok(())
    }
}

impl Place for LeastLoad {
    fn place(&mut self, _request: &Request<'_>, fleet: &Fleet) -> Placement {
        match pick::pick(fleet, self.config.scan, chance::below) {
            Some(pick) => {
                telemetry::explain(&pick.why);
                Placement::Replica(pick.id)
            }
            None => Placement::Pass,
        }
    }
}

headworks_policy::export!(LeastLoad: configure, place);
