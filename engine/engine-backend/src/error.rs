//! Why a device could not do what a model asked.

/// What went wrong on a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is not enough memory; ask for fewer KV blocks or a smaller step.
    #[error("{what} needs {bytes} bytes, more than the device has free")]
    OutOfMemory {
        /// What was to be stored.
        what: &'static str,
        /// Bytes asked for.
        bytes: usize,
    },
    /// The batch contradicts the model or its cache: a bug in the caller.
    #[error("bad batch: {0}")]
    BadBatch(String),
    /// A parameter's bytes do not fit its shape: a bug in the caller.
    #[error("bad parameter: {0}")]
    BadSource(String),
    /// The device itself failed; no later call can be trusted.
    #[error("{operation}: {reason}")]
    Device {
        /// The operation under way.
        operation: &'static str,
        /// In the device's words.
        reason: String,
    },
}
