//! Keeps the requests of a session on one replica, as long as that replica is not overfull.
//!
//! Consistent hashing with bounded loads: Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads",
//! SODA 2018. A key goes to the first replica clockwise from it on the ring whose load is below its bound.

mod config;
mod pick;
mod ring;

use headworks_policy::{
    BLOCK_BYTES, Configure, Fleet, Mode, Place, Placement, Policy, Refusal, Request, hash64, telemetry,
};

use config::{Config, KeyWithoutSession};
use ring::Ring;

/// Keeps its configuration, and the ring of the fleet it saw last, which follows from the fleet alone.
#[derive(Debug, Default)]
pub struct SessionAffinity {
    config: Config,
    ring: Ring,
}

/// What a request is kept together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    hash: u64,
    /// For the reason.
    kind: &'static str,
}

impl Policy for SessionAffinity {
    const NAME: &str = "session-affinity";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const MODE: Mode = Mode::Pooled;
    const CONFIG_SCHEMA: &str = config::SCHEMA;
}

impl Configure for SessionAffinity {
    fn configure(&mut self, json: &str) -> Result<(), Refusal> {
        self.config = Config::parse(json)?;
        self.ring = Ring::default();
        Ok(())
    }
}

impl Place for SessionAffinity {
    fn place(&mut self, request: &Request<'_>, fleet: &Fleet) -> Placement {
        let Some(key) = key_of(request, &self.config) else { return Placement::Pass };
        self.ring.follow(fleet.id(), fleet.weight(), self.config.points_per_replica);
        let Some(pick) = pick::pick(&self.ring, fleet, key.hash, self.config.load_factor_permille) else {
            return Placement::Pass;
        };
        telemetry::explain(&pick.why(key.kind));
        Placement::Replica(pick.id)
    }
}

headworks_policy::export!(SessionAffinity: configure, place);

/// The session, or else what is configured. A kind of key never meets another with the same text.
fn key_of(request: &Request<'_>, config: &Config) -> Option<Key> {
    let keyed = |kind: &'static str, salt: u64, bytes: &[u8]| Some(Key { hash: hash64(bytes) ^ salt, kind });
    if let Some(session) = request.session() {
        return keyed("session", 0, session.as_bytes());
    }
    match config.without_session {
        KeyWithoutSession::Tenant => keyed("tenant", 1, request.tenant().as_bytes()),
        KeyWithoutSession::Prefix => {
            keyed("prefix", 2, &request.prompt(0, config.prefix_blocks.saturating_mul(BLOCK_BYTES)))
        }
        KeyWithoutSession::None => None,
    }
}

#[cfg(test)]
mod tests;
