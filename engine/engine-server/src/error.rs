//! Why an engine does not start, or ends.

use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// Why [`crate::serve`] returned without being asked to.
#[derive(Debug, Error)]
pub enum Error {
    /// A bound makes no sense.
    #[error("{name} must be {wanted}")]
    Config {
        /// The field of [`crate::Config`], and the flag of `headworks engine` that sets it.
        name: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}; choose another address, or port 0 for any free port")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The operating system's words.
        source: std::io::Error,
    },
    /// A file of the checkpoint is missing or wrong.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The weights cannot be loaded.
    #[error(transparent)]
    Model(#[from] engine_model::LoadError),
    /// The tokenizer refused some text or tokens.
    #[error("the tokenizer: {0}")]
    Tokenizer(String),
    /// The model stopped working; nothing it computes can be trusted any more.
    #[error("the model stopped: {0}")]
    Forward(#[from] engine_backend::Error),
    /// The driver thread ended without being asked to.
    #[error("the driver thread panicked; its message is in the log")]
    DriverPanicked,
    /// A thread could not be started.
    #[error("cannot start the driver thread: {0}")]
    Thread(std::io::Error),
}
