//! Why a slot was not changed, and why a configured policy could not be loaded.

use std::path::PathBuf;

use policy_runtime::LoadError;
use thiserror::Error;

use crate::config::SLOT_NAME;
use crate::policies::{Place, SourceError};

/// Why a slot was not changed.
#[derive(Debug, Error)]
pub(crate) enum SwapError {
    #[error("{}{_0}", refused_what(_0))]
    Refused(#[from] LoadError),
    #[error("{0}")]
    Source(#[from] SourceError),
    #[error("{0:?} cannot name a slot: use {SLOT_NAME}")]
    BadName(String),
    #[error("there are already {slots_max} slots; replace one of them, or raise `limits.slots_max`")]
    TooManySlots { slots_max: usize },
    #[error("there is no slot {0:?}")]
    UnknownSlot(String),
    #[error("slot {slot:?} keeps no version {number}; `headworks policy list` shows those it keeps")]
    UnknownVersion { slot: String, number: u32 },
    #[error(
        "version {number} of slot {slot:?} is quarantined because it failed too often; upload it anew to try it again"
    )]
    Quarantined { slot: String, number: u32 },
    #[error("slot {0:?} has no active version that a canary could stand beside; put one first, without `canary`")]
    NothingBeside(String),
    #[error("slot {0:?} has no active version to configure; put one first")]
    NothingToConfigure(String),
    #[error("slot {0:?} has no canary")]
    NoCanary(String),
    #[error("slot {0:?} has no earlier version to go back to")]
    NothingBefore(String),
    #[error("slot {0:?} is in the configuration and would be back after the next start; take it out there")]
    Configured(String),
    #[error("loading the component failed: {0}")]
    Broke(String),
}

/// A configuration's refusal says itself what was refused.
fn refused_what(error: &LoadError) -> &'static str {
    match error {
        LoadError::ConfigRefused { .. } | LoadError::BadConfig { .. } => "",
        _ => "the component was refused: ",
    }
}

/// Why a configured policy could not be loaded at the start.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("slot {slot}: {source}")]
    Source { slot: String, source: SourceError },
    #[error("{place}: {source}")]
    Load { place: Place, source: LoadError },
    #[error("{place}: {source}")]
    Put { place: Place, source: SwapError },
    #[error("`state_folder` {} cannot be used: {source}", path.display())]
    State { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Runtime(LoadError),
}
