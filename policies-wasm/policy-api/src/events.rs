//! What happened to requests and replicas, told to policies in batches, off the data path.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ReplicaId;

/// Tokens one request cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens.
    pub prompt_tokens: u32,
    /// Prompt tokens answered from the prefix cache.
    pub cached_tokens: u32,
    /// Output tokens.
    pub output_tokens: u32,
}

/// Why a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The replica could not be reached or broke the connection.
    Replica,
    /// The client left.
    Cancelled,
    /// The replica answered with an error.
    Refused,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was answered to the end.
    Finished,
    /// No replica did it.
    Failed,
    /// The client left.
    Cancelled,
    /// It was turned away: by the proxy, a policy or the replica.
    Refused,
}

/// What policies noted about a request, by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes(Vec<(String, Arc<[u8]>)>);

/// Which request an event is about. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// [`crate::RequestFacts::id`].
    pub request: u64,
    /// [`crate::RequestFacts::tenant`].
    pub tenant: Arc<str>,
    /// [`crate::RequestFacts::model`].
    pub model: Arc<str>,
    /// [`crate::RequestFacts::endpoint`].
    pub endpoint: Arc<str>,
    /// What policies noted about it.
    pub notes: Arc<Notes>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A request was sent to a replica.
    Started {
        /// Which.
        subject: Subject,
        /// Where it went.
        replica: ReplicaId,
    },
    /// Its first token came back.
    FirstToken {
        /// Which.
        subject: Subject,
        /// Where it runs.
        replica: ReplicaId,
        /// Since it was sent, in microseconds.
        ttft_us: u32,
    },
    /// A try of it failed; another may follow.
    Failed {
        /// Which.
        subject: Subject,
        /// Where it ran.
        replica: ReplicaId,
        /// Why.
        kind: FailureKind,
    },
    /// It ended: once for each request that policies were asked about.
    Ended {
        /// Which.
        subject: Subject,
        /// Where it ran last, if it was ever sent.
        replica: Option<ReplicaId>,
        /// What became of it.
        outcome: Outcome,
        /// What it cost, as far as known.
        usage: Usage,
    },
    /// A replica became healthy.
    ReplicaUp(ReplicaId),
    /// A replica became unhealthy or left.
    ReplicaDown(ReplicaId),
}

impl Notes {
    /// Notes under a slot's name; the last of a slot counts.
    pub fn set(&mut self, slot: &str, note: Arc<[u8]>) {
        match self.0.iter_mut().find(|(name, _)| name == slot) {
            Some((_, old)) => *old = note,
            None => self.0.push((slot.to_owned(), note)),
        }
    }

    /// Takes over other notes; theirs count.
    pub fn merge(&mut self, others: &Notes) {
        for (slot, note) in &others.0 {
            self.set(slot, note.clone());
        }
    }

    /// Whether nothing is noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is noted under a slot's name; empty when nothing is.
    pub fn of(&self, slot: &str) -> &[u8] {
        self.0.iter().find(|(name, _)| name == slot).map_or(&[], |(_, note)| note)
    }
}
