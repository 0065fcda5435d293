//! What a policy answers.

use serde::{Deserialize, Serialize};

use crate::{RegionId, ReplicaId};

/// The answer of the `admit` hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Let it in; no later policy is asked.
    Allow,
    /// Turn it away.
    Deny(Denial),
    /// No opinion; ask the next policy.
    Pass,
}

/// The answer of the `place` hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Send it to this replica.
    Replica(ReplicaId),
    /// Hand it to the proxy of this region.
    Region(RegionId),
    /// Wait until the fleet changes, then ask again.
    Hold,
    /// Turn it away.
    Reject(Denial),
    /// No opinion; ask the next policy.
    Pass,
}

/// Why and how a request is turned away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Denial {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// When to try again, in milliseconds.
    pub retry_after_ms: Option<u32>,
    /// For the client: what to change or when to come back.
    pub message: String,
}
