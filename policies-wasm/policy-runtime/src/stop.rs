//! How a call that did not return came to its end.

use policy_api::PolicyFault;
use wasmtime::Trap;

use crate::{
    LoadError,
    state::{MemoryRefused, State, bounded},
};

/// Why a call did not return. Its instance is spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Trapped { message: String },
    DeadlinePassed { deadline_ms: u32 },
    OutOfFuel { fuel_max: u64 },
    OutOfMemory { bytes_max: usize },
}

/// What a call may spend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) deadline_ms: u32,
    /// In place of the deadline, where the runtime meters by fuel.
    pub(crate) fuel_max: Option<u64>,
}

impl Stop {
    /// Reads the error that a call ended with.
    pub(crate) fn of(error: &wasmtime::Error, state: &State, budget: Budget) -> Stop {
        if let Some(MemoryRefused { bytes_max }) = error.downcast_ref() {
            return Stop::OutOfMemory { bytes_max: *bytes_max };
        }
        match (error.downcast_ref::<Trap>(), budget.fuel_max) {
            (Some(Trap::Interrupt), _) => Stop::DeadlinePassed { deadline_ms: budget.deadline_ms },
            (Some(Trap::OutOfFuel), Some(fuel_max)) => Stop::OutOfFuel { fuel_max },
            (Some(trap), _) => Stop::Trapped { message: with_last_words(&trap.to_string(), state) },
            (None, _) => Stop::Trapped { message: with_last_words(&error.root_cause().to_string(), state) },
        }
    }

    /// As what a running policy's caller is told.
    pub(crate) fn into_fault(self) -> PolicyFault {
        match self {
            Stop::Trapped { message } => PolicyFault::Trapped { message },
            Stop::DeadlinePassed { deadline_ms } => PolicyFault::DeadlinePassed { deadline_ms },
            Stop::OutOfFuel { fuel_max } => PolicyFault::OutOfFuel { fuel_max },
            Stop::OutOfMemory { bytes_max } => PolicyFault::OutOfMemory { memory_bytes_max: bytes_max as u64 },
        }
    }

    /// As what an uploader is told.
    pub(crate) fn into_load_error(self, during: &str) -> LoadError {
        let during = during.to_owned();
        match self {
            Stop::Trapped { message } => LoadError::Trapped { during, message },
            Stop::DeadlinePassed { deadline_ms } => {
                LoadError::DidNotReturn { during, limit: format!("{deadline_ms} ms") }
            }
            Stop::OutOfFuel { fuel_max } => LoadError::DidNotReturn { during, limit: format!("{fuel_max} fuel") },
            Stop::OutOfMemory { bytes_max } => LoadError::OutOfMemory { during, memory_bytes_max: bytes_max as u64 },
        }
    }
}

/// A guest's panic message comes as its last error line; the trap itself says only `unreachable`.
fn with_last_words(trap: &str, state: &State) -> String {
    let bytes_max = state.limits.message_bytes_max;
    match &state.call.error_line {
        Some(line) => bounded(&format!("{line} ({trap})"), bytes_max).to_owned(),
        None => bounded(trap, bytes_max).to_owned(),
    }
}
