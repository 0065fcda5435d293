//! What a test expects of a call, and whether it got it.

use std::fmt;

use dispatch::{By, Decision, Entry, Target};
use policy_api::{RegionId, ReplicaId};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::test::file::AskedHook;

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Expect {
    Replica(u32),
    Region(u32),
    Hold(True),
    Pass(True),
    Reject(u16),
    Allow(True),
    Deny(u16),
    /// Part of what is said about a call that gave no verdict, or one that cannot be followed.
    Fault(String),
}

/// One for every call, or one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OneOrMany {
    One(Expect),
    Many(Vec<Expect>),
}

/// `true`, the only value that says anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct True;

/// What a call brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Got(pub Expect);

impl Expect {
    /// The hook that gives such a verdict; none when either could.
    pub(super) fn hook(&self) -> Option<AskedHook> {
        match self {
            Expect::Replica(_) | Expect::Region(_) | Expect::Hold(_) | Expect::Reject(_) => Some(AskedHook::Place),
            Expect::Allow(_) | Expect::Deny(_) => Some(AskedHook::Admit),
            Expect::Pass(_) | Expect::Fault(_) => None,
        }
    }

    pub(super) fn is_met_by(&self, got: &Got) -> bool {
        match (self, &got.0) {
            (Expect::Fault(part), Expect::Fault(whole)) => whole.contains(part.as_str()),
            (expected, got) => expected == got,
        }
    }
}

impl Got {
    /// What an admission came to, with the policy alone in its chain.
    pub(super) fn of_admission(decision: &Decision<Entry>) -> Got {
        Got::of(decision, |entry| match entry {
            Entry::Allowed => Expect::Allow(True),
            Entry::Denied(denial) => Expect::Deny(denial.status),
        })
    }

    /// What a placement came to, likewise.
    pub(super) fn of_placement(decision: &Decision<Target>) -> Got {
        Got::of(decision, |target| match target {
            Target::Replica(ReplicaId(id)) => Expect::Replica(*id),
            Target::Region(RegionId(id)) => Expect::Region(*id),
            Target::Hold => Expect::Hold(True),
            Target::Rejected(denial) => Expect::Reject(denial.status),
            Target::Nobody => Expect::Pass(True),
        })
    }

    fn of<V>(decision: &Decision<V>, verdict: impl FnOnce(&V) -> Expect) -> Got {
        match (decision.faults.first(), &decision.by) {
            (Some(fault), _) => Got(Expect::Fault(fault.kind.to_string())),
            (None, By::Fallback) => Got(Expect::Pass(True)),
            (None, By::Policy(_)) => Got(verdict(&decision.verdict)),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Replica(id) => write!(f, "replica {id}"),
            Expect::Region(id) => write!(f, "region {id}"),
            Expect::Hold(True) => f.write_str("hold"),
            Expect::Pass(True) => f.write_str("pass"),
            Expect::Reject(status) => write!(f, "reject {status}"),
            Expect::Allow(True) => f.write_str("allow"),
            Expect::Deny(status) => write!(f, "deny {status}"),
            Expect::Fault(what) => write!(f, "fault ({what})"),
        }
    }
}

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<True, D::Error> {
        match bool::deserialize(deserializer)? {
            true => Ok(True),
            false => Err(D::Error::custom("only `true` can be expected; name another verdict instead")),
        }
    }
}

/// By hand, because an untagged enum forgets what was wrong inside it.
impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMany, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a verdict such as { replica = 1 }, or a list of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMany, A::Error> {
        Expect::deserialize(MapAccessDeserializer::new(map)).map(OneOrMany::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany::Many)
    }
}
