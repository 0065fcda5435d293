//! What happened to requests and replicas, told to policies in batches, off the data path.

use crate::ReplicaId;

/// Tokens one request cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens.
    pub prompt_tokens: u32,
    /// Prompt tokens answered from the prefix cache.
    pub cached_tokens: u32,
    /// Output tokens.
    pub output_tokens: u32,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The replica could not be reached or broke the connection.
    Replica,
    /// The client left.
    Cancelled,
    /// The replica answered with an error.
    Refused,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A request was sent to a replica.
    Started {
        /// [`crate::RequestFacts::id`].
        request: u64,
        /// Where it went.
        replica: ReplicaId,
    },
    /// Its first token came back.
    FirstToken {
        /// [`crate::RequestFacts::id`].
        request: u64,
        /// Where it runs.
        replica: ReplicaId,
        /// Since it was sent, in microseconds.
        ttft_us: u32,
    },
    /// It ended well.
    Finished {
        /// [`crate::RequestFacts::id`].
        request: u64,
        /// Where it ran.
        replica: ReplicaId,
        /// What it cost.
        usage: Usage,
    },
    /// It ended badly.
    Failed {
        /// [`crate::RequestFacts::id`].
        request: u64,
        /// Where it ran.
        replica: ReplicaId,
        /// Why.
        kind: FailureKind,
    },
    /// A replica became healthy.
    ReplicaUp(ReplicaId),
    /// A replica became unhealthy or left.
    ReplicaDown(ReplicaId),
}
