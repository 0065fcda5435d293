//! Counts what became of the calls that were made again, and describes the first that came out otherwise.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{NotReplayed, Options, Replayed, verdict_words};
use crate::recording::{Answer, CallLine, Recording};

/// What became of a recording's calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Calls that were looked at.
    pub calls: u64,
    /// Those that came out as they were.
    pub same: u64,
    /// Those that came out otherwise.
    pub differ: u64,
    /// Those that could not be made again, by why.
    pub not_replayed: BTreeMap<String, u64>,
    /// By the policy that was recorded.
    pub policies: Vec<PolicyReport>,
    /// The first that came out otherwise.
    pub differences: Vec<Difference>,
    /// Fuel per call that was made again.
    pub fuel: Option<Fuel>,
    /// What is to be known besides.
    pub remarks: Vec<String>,
}

/// One recorded policy's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in `Report`, and as in `Who`")]
pub struct PolicyReport {
    pub slot: String,
    pub name: String,
    pub version: String,
    pub digest: String,
    pub calls: u64,
    pub same: u64,
    pub differ: u64,
}

/// A call that came out otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its place among the recording's calls, from 1.
    pub call: usize,
    /// The decision's id, where it was about a request.
    pub request: Option<String>,
    /// Whose call it was.
    pub slot: String,
    /// What was asked.
    pub hook: policy_api::Hook,
    /// When.
    pub now_ms: u64,
    /// What it came out as when it was recorded.
    pub recorded: Outcome,
    /// What it came out as now.
    pub replayed: Outcome,
    /// What differs.
    pub why: String,
}

/// How a call came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// In words.
    pub verdict: String,
    /// Why, in the policy's words.
    pub reason: Option<String>,
}

/// Fuel of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "what they are called is what they are")]
pub struct Fuel {
    pub total: u64,
    pub median: u64,
    pub max: u64,
}

impl Report {
    /// Whether all that could be made again came out as it was, and there was something to make again.
    pub fn is_exact(&self) -> bool {
        self.differ == 0 && (self.same > 0 || self.calls == 0)
    }
}

/// A report in the making.
pub(super) struct Tally<'a> {
    recording: &'a Recording,
    differences_max: usize,
    same: u64,
    differ: u64,
    not_replayed: BTreeMap<NotReplayed, u64>,
    policies: BTreeMap<u32, (u64, u64, u64)>,
    differences: BTreeMap<usize, Difference>,
    fuel: Vec<u64>,
    remarks: Vec<String>,
}

impl<'a> Tally<'a> {
    pub fn new(recording: &'a Recording, options: &Options) -> Tally<'a> {
        Tally {
            recording,
            differences_max: options.differences_max,
            same: 0,
            differ: 0,
            not_replayed: BTreeMap::new(),
            policies: BTreeMap::new(),
            differences: BTreeMap::new(),
            fuel: Vec::new(),
            remarks: recording.remarks.clone(),
        }
    }

    pub fn with_remarks(mut self, remarks: Vec<String>) -> Tally<'a> {
        self.remarks.extend(remarks);
        self
    }

    pub fn count(&mut self, at: usize, outcome: Result<Replayed, NotReplayed>) {
        let call = &self.recording.calls[at];
        let (calls, same, differ) = self.policies.entry(call.policy).or_default();
        *calls += 1;
        match outcome {
            Err(why) => *self.not_replayed.entry(why).or_default() += 1,
            Ok(Replayed { said, why }) => {
                self.fuel.extend(said.fuel);
                match why {
                    None => {
                        *same += 1;
                        self.same += 1;
                    }
                    Some(why) => {
                        *differ += 1;
                        self.differ += 1;
                        self.describe(at, call, &said, why);
                    }
                }
            }
        }
    }

    /// Keeps the first ones by their place in the recording, in whatever order they come.
    fn describe(&mut self, at: usize, call: &CallLine, said: &Answer, why: String) {
        let policy = &self.recording.policies[&call.policy].line;
        let difference = Difference {
            call: at + 1,
            request: call.request.map(|request| format!("{request:x}")),
            slot: policy.slot.clone(),
            hook: call.hook,
            now_ms: call.now_ms,
            recorded: Outcome::of(&call.answer),
            replayed: Outcome::of(said),
            why,
        };
        self.differences.insert(at, difference);
        if self.differences.len() > self.differences_max {
            self.differences.pop_last();
        }
    }

    pub fn report(mut self) -> Report {
        self.fuel.sort_unstable();
        let fuel = self.fuel.last().map(|max| Fuel {
            total: self.fuel.iter().sum(),
            median: self.fuel[self.fuel.len() / 2],
            max: *max,
        });
        let policies: Vec<PolicyReport> =
            self.policies.iter().map(|(number, counts)| self.policy(*number, *counts)).collect();
        Report {
            calls: policies.iter().map(|policy| policy.calls).sum(),
            same: self.same,
            differ: self.differ,
            not_replayed: self.not_replayed.into_iter().map(|(why, calls)| (why.to_string(), calls)).collect(),
            policies,
            differences: self.differences.into_values().collect(),
            fuel,
            remarks: self.remarks,
        }
    }

    fn policy(&self, number: u32, (calls, same, differ): (u64, u64, u64)) -> PolicyReport {
        let line = self.recording.policies[&number].line.clone();
        let (slot, name, version, digest) = (line.slot, line.name, line.version, line.digest);
        PolicyReport { slot, name, version, digest, calls, same, differ }
    }
}

impl Outcome {
    fn of(answer: &Answer) -> Outcome {
        Outcome { verdict: verdict_words(&answer.said), reason: answer.reason.clone() }
    }
}
