//! Lets tenants that want more than there is have equal shares of the tokens, by holding those that are ahead.
//!
//! VTC: Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024 (arXiv 2401.00588): a counter of weighted
//! tokens for each tenant, the least served goes first, a tenant that comes back is lifted to the least of those that
//! wait. From DLPM (Cao et al., "Locality-aware Fair Scheduling in LLM Serving", arXiv 2501.14312) the quantum, by which a
//! tenant may be ahead, and that cached tokens cost nothing.

mod config;
mod ledger;
mod room;

use headworks_policy::{
    Configure, Event, Fleet, Mode, Observe, Place, Placement, Policy, Refusal, Request, Snapshot, clock, telemetry,
};

use config::Config;
use ledger::{Asking, Ledger, Turn};
use room::Room;

/// Keeps who had how much, in one instance.
#[derive(Debug, Default)]
pub struct FairShare {
    config: Config,
    ledger: Ledger,
}

impl Policy for FairShare {
    const NAME: &str = "fair-share";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const MODE: Mode = Mode::Single;
    const CONFIG_SCHEMA: &str = config::SCHEMA;
}

impl Configure for FairShare {
    fn configure(&mut self, json: &str) -> Result<(), Refusal> {
        self.config = Config::parse(json)?;
        Ok(())
    }
}

impl Place for FairShare {
    fn place(&mut self, request: &Request<'_>, fleet: &Fleet) -> Placement {
        let room = Room::of(fleet, self.config.outstanding_max);
        if room == Room::Nobody {
            // Whoever comes next in the chain says what to do without a replica.
            return Placement::Pass;
        }
        let tenant = request.tenant();
        let output_tokens = match request.output_tokens_max() {
            0 => self.config.default_output_tokens,
            most => most.min(self.config.default_output_tokens),
        };
        let prompt_tokens = request.prompt_tokens_estimate();
        let asking = Asking {
            request: request.id(),
            tenant: &tenant,
            prompt_tokens,
            cost: self.config.cost(&tenant, prompt_tokens, 0, output_tokens),
            now_ms: clock::now_ms(),
        };
        match self.ledger.ask(&asking, room, &self.config) {
            Turn::Go => Placement::Pass,
            Turn::Uncounted => {
                telemetry::count("uncounted", 1);
                Placement::Pass
            }
            Turn::Wait(why) => {
                telemetry::explain(&why.to_string());
                Placement::Hold
            }
        }
    }
}

impl Observe for FairShare {
    fn observe(&mut self, events: &[Event], _fleet: &Fleet) {
        for event in events {
            if let Event::Ended(ended) = event {
                self.ledger.ended(ended, &self.config);
            }
        }
        telemetry::gauge("tenants", self.ledger.tenants_now() as f64);
        telemetry::gauge("requests", self.ledger.requests_now() as f64);
    }
}

impl Snapshot for FairShare {
    fn snapshot(&self) -> Vec<u8> {
        self.ledger.write()
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.ledger = Ledger::read(bytes)?;
        Ok(())
    }
}

headworks_policy::export!(FairShare: configure, place, observe, snapshot);
