//! What was decided, in the words of the admin API and of spans.

use dispatch::{By, Decision, Entry, Target};
use telemetry::{Span, names};

/// A verdict in the admin API's words.
pub(crate) trait Verdict {
    /// A word for spans and records.
    fn word(&self) -> &'static str;
    /// Whether the request's record is about this decision.
    fn ends(&self) -> bool;
}

impl Verdict for Entry {
    fn word(&self) -> &'static str {
        match self {
            Entry::Allowed => "allow",
            Entry::Denied(_) => "deny",
        }
    }

    fn ends(&self) -> bool {
        matches!(self, Entry::Denied(_))
    }
}

impl Verdict for Target {
    fn word(&self) -> &'static str {
        match self {
            Target::Replica(_) => "replica",
            Target::Region(_) => "region",
            Target::Hold => "hold",
            Target::Rejected(_) => "reject",
            Target::Nobody => "none",
        }
    }

    fn ends(&self) -> bool {
        *self != Target::Hold
    }
}

/// Says on a decision's span what was decided, and by whom.
pub(crate) fn describe_decision<V: Verdict>(span: &Span, decision: &Decision<V>) {
    if !span.is_recorded() {
        return;
    }
    span.set(names::VERDICT, decision.verdict.word());
    if let By::Policy(author) = &decision.by {
        span.set(names::POLICY_SLOT, author.slot.clone());
        span.set(names::POLICY_NAME, author.name.clone());
        span.set(names::POLICY_VERSION, author.version.clone());
        span.set(names::POLICY_DIGEST, author.digest.clone());
    } else {
        span.set(names::POLICY_NAME, dispatch::FALLBACK_NAME);
    }
    if let Some(reason) = &decision.words.reason {
        span.set(names::REASON, reason.clone());
    }
    for (key, value) in &decision.words.attributes {
        span.set(format!("headworks.policy.attribute.{key}"), value.clone());
    }
    if decision.calls.iter().any(|call| call.is_canary) {
        span.set("headworks.policy.canary", true);
    }
    if !decision.faults.is_empty() {
        // Whoever decided in the end: a policy that was asked could not.
        let faults: Vec<String> = decision.faults.iter().map(ToString::to_string).collect();
        span.set("headworks.policy.faults", faults.len() as i64);
        span.fail(faults.join("; "));
    }
}
