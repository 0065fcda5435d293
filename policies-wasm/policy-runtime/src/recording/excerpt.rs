//! Takes out of a recording what one request's calls need to be made again.

use std::{
    collections::{BTreeSet, HashMap},
    io::{BufRead, Seek, Write},
};

use policy_api::{Hook, Mode};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    EndLine, EndReason, Line, ReadError,
    encode::put,
    read::{Reading, bad},
};

/// Writes a recording of the calls about `request`, with what they name. Before a call of a policy that keeps state go
/// those that its instance had since its state was last known. How many calls there are about the request; where there
/// are none, nothing is written.
pub fn excerpt(mut input: impl BufRead + Seek, request: u64, output: &mut impl Write) -> Result<usize, ReadError> {
    let mut survey = Survey::default();
    let mut reading = Reading::begin(&mut input)?;
    while let Some((at, text)) = reading.next_text()? {
        let outline = serde_json::from_slice(text).map_err(|error| bad(at, error.to_string()))?;
        survey.see(at, outline, request);
    }
    if survey.found == 0 {
        return Ok(0);
    }
    input.rewind()?;
    let mut reading = Reading::begin(&mut input)?;
    let mut lines = Vec::new();
    put(&mut lines, &Line::Recording(reading.header.clone()));
    output.write_all(&lines)?;
    while let Some((at, text)) = reading.next_text()? {
        if survey.wanted.contains(&at) {
            output.write_all(text)?;
        }
    }
    lines.clear();
    put(&mut lines, &Line::End(EndLine { calls: survey.calls, dropped: 0, why: EndReason::Excerpt }));
    output.write_all(&lines)?;
    Ok(survey.found)
}

/// As much of a line as says what it is.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outline {
    Component { digest: String },
    Policy { policy: u32, digest: String, mode: Mode },
    Fleet { fleet: u32 },
    Facts { facts: u32 },
    Start { policy: u32, instance: u64 },
    Call(CallOutline),
    Recording(IgnoredAny),
    Gap(IgnoredAny),
    End(IgnoredAny),
}

#[derive(Clone, Copy, Deserialize)]
struct CallOutline {
    policy: u32,
    instance: Option<u64>,
    hook: Hook,
    request: Option<u64>,
    facts: Option<u32>,
    fleet: Option<u32>,
}

/// Where everything is, and which lines are wanted.
#[derive(Default)]
struct Survey {
    components: HashMap<String, usize>,
    /// A policy's line, and its component's.
    policies: HashMap<u32, (usize, Option<usize>, Mode)>,
    fleets: HashMap<u32, usize>,
    facts: HashMap<u32, usize>,
    starts: HashMap<u64, usize>,
    /// Calls of an instance since its state was last known.
    since: HashMap<u64, Vec<(usize, CallOutline)>>,
    wanted: BTreeSet<usize>,
    calls: u64,
    found: usize,
}

impl Survey {
    fn see(&mut self, at: usize, outline: Outline, request: u64) {
        match outline {
            Outline::Component { digest } => drop(self.components.insert(digest, at)),
            Outline::Policy { policy, digest, mode } => {
                let component = self.components.get(&digest).copied();
                self.policies.insert(policy, (at, component, mode));
            }
            Outline::Fleet { fleet } => drop(self.fleets.insert(fleet, at)),
            Outline::Facts { facts } => drop(self.facts.insert(facts, at)),
            Outline::Start { policy, instance } => {
                self.starts.insert(instance, at);
                if self.keeps_state(policy) {
                    self.since.insert(instance, Vec::new());
                }
            }
            Outline::Call(call) => self.see_call(at, call, request),
            Outline::Recording(_) | Outline::Gap(_) | Outline::End(_) => {}
        }
    }

    fn see_call(&mut self, at: usize, call: CallOutline, request: u64) {
        let history = call.instance.filter(|_| self.keeps_state(call.policy));
        if let Some(instance) = history {
            let since = self.since.entry(instance).or_default();
            if call.hook == Hook::Snapshot {
                since.clear();
            }
            since.push((at, call));
        }
        if call.request != Some(request) {
            return;
        }
        self.found += 1;
        let before = history.and_then(|instance| self.since.get_mut(&instance)).map(std::mem::take).unwrap_or_default();
        before.into_iter().for_each(|(at, call)| self.want(at, call));
        self.want(at, call);
    }

    fn want(&mut self, at: usize, call: CallOutline) {
        let CallOutline { policy, instance, facts, fleet, .. } = call;
        if !self.wanted.insert(at) {
            return;
        }
        self.calls += 1;
        let (policy, component) =
            self.policies.get(&policy).map_or((None, None), |(at, component, _)| (Some(*at), *component));
        let facts = facts.and_then(|facts| self.facts.get(&facts).copied());
        let fleet = fleet.and_then(|fleet| self.fleets.get(&fleet).copied());
        let start = instance.and_then(|instance| self.starts.get(&instance).copied());
        self.wanted.extend([policy, component, facts, fleet, start].into_iter().flatten());
    }

    fn keeps_state(&self, policy: u32) -> bool {
        self.policies.get(&policy).is_some_and(|(_, _, mode)| *mode == Mode::Single)
    }
}
