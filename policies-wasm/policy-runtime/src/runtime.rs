//! Owns the engine, the ticker and what slots share; loads components.

use std::sync::Arc;

use crate::{Component, Host, Limits, LoadError};

/// One per process.
pub struct Runtime {
    limits: Limits,
    host: Arc<dyn Host>,
    seed: u64,
}

impl Runtime {
    /// A runtime whose chance flows from `seed`.
    pub fn new(limits: Limits, host: Arc<dyn Host>, seed: u64) -> Result<Runtime, LoadError> {
        Ok(Runtime { limits, host, seed })
    }

    /// Compiles, checks, instantiates, configures and tries out a component, restores `predecessor`'s snapshot when
    /// both have that hook, and fills the pool. Blocking CPU work: call it off the async threads. The result is ready
    /// for its first call; publish it only then.
    ///
    /// `config_json` is a JSON object, or empty for none.
    pub fn load(
        &self,
        slot: &str,
        component: &[u8],
        config_json: &str,
        predecessor: Option<&Component>,
    ) -> Result<Component, LoadError> {
        let _ = (
            slot,
            component,
            config_json,
            predecessor,
            &self.host,
            self.seed,
            &self.limits,
        );
        Err(LoadError::Internal {
            message: "not written yet".to_owned(),
        })
    }

    /// The bounds it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}
