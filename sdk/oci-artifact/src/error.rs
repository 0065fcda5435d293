//! Why an artefact was not pulled or pushed, in words for the one who named it.

use thiserror::Error;

use crate::Reference;

/// Why an artefact was not pulled or pushed.
#[derive(Debug, Error)]
pub enum OciError {
    /// Not a reference.
    #[error("{given:?} is no OCI reference: {message}; write it as registry.example/team/policy:1.2")]
    BadReference {
        /// What was given.
        given: String,
        /// What is wrong with it.
        message: String,
    },
    /// Nobody answered, or the answer broke off.
    #[error("the registry {registry} cannot be reached: {message}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// Why.
        message: String,
    },
    /// Took longer than it may.
    #[error("the registry {registry} took longer than {time_ms_max} ms")]
    TooSlow {
        /// Host and port.
        registry: String,
        /// The bound.
        time_ms_max: u128,
    },
    /// Wants credentials, or others.
    #[error("the registry {registry} lets {who} do nothing with {repository} ({status}); {hint}")]
    Denied {
        /// Host and port.
        registry: String,
        /// Whose credentials were shown.
        who: String,
        /// The repository.
        repository: String,
        /// Its answer.
        status: u16,
        /// What to change.
        hint: &'static str,
    },
    /// No such tag, digest or repository.
    #[error("{reference} is not in its registry: it knows no such repository, tag or digest")]
    NotFound {
        /// What was asked for.
        reference: Reference,
    },
    /// Something else than a component in the CNCF's layout.
    #[error("{reference} holds no policy: {message}")]
    WrongKind {
        /// What was asked for.
        reference: Reference,
        /// What it holds.
        message: String,
    },
    /// More bytes than a component may have.
    #[error("the component at {reference} has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLarge {
        /// What was asked for.
        reference: Reference,
        /// What it has, as far as it was told or read.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// Other bytes than those that were named.
    #[error("{what} of {reference} should have the digest {expected} but has {actual}; it is not what was pushed")]
    DigestMismatch {
        /// What was asked for.
        reference: Reference,
        /// The manifest, or the component.
        what: &'static str,
        /// As named.
        expected: String,
        /// As read.
        actual: String,
    },
    /// Any other refusal.
    #[error("the registry {registry} answered {status} when asked to {step}{message}")]
    Refused {
        /// Host and port.
        registry: String,
        /// What it was asked to do.
        step: &'static str,
        /// Its answer.
        status: u16,
        /// What it said; begins with a separator or is empty.
        message: String,
    },
}
