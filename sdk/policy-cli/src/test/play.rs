//! Plays one test: a policy alone in a real chain, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use dispatch::{Author, Chain, Decision, Fallback, Link, Tried};
use policy_api::{
    Admission, Answer, Call, Description, Event, FailureKind, FleetView, Holds, Hook, Notes, Outcome, Placement,
    Policy, PolicyFault, ReplicaId, RequestFacts, Subject, Usage, Words,
};
use policy_simulator::VirtualHost;

use crate::test::expect::{Expect, Got};
use crate::test::file::{About, AskedHook, Became, Test, Told, Why};

/// The slot that a tested policy is in.
pub(super) const SLOT: &str = "test";

/// Plays a test; none when it holds, else what was expected, what came, and what the policy said.
pub(super) fn failure_of(test: &Test, policy: Arc<dyn Policy>, host: &VirtualHost) -> Option<String> {
    let hook = test.hook().unwrap_or(match policy.describe().has(Hook::Place) {
        true => AskedHook::Place,
        false => AskedHook::Admit,
    });
    let has = match hook {
        AskedHook::Admit => Hook::Admit,
        AskedHook::Place => Hook::Place,
    };
    if !policy.describe().has(has) {
        return Some(format!("the policy has no {} hook", hook.word()));
    }
    let tells_events = !test.observe.is_empty() || !test.observe_between.is_empty();
    if tells_events && !policy.describe().has(Hook::Observe) {
        return Some("the policy has no observe hook to tell events to".to_owned());
    }
    let calls = test.calls();
    let mut stage = Stage::new(test, policy, host);
    calls.iter().enumerate().find_map(|(number, expect)| {
        let failure = stage.failure_of_call(hook, number as u64, expect)?;
        Some(if calls.len() > 1 { format!("call {}: {failure}", number + 1) } else { failure })
    })
}

/// A policy, and what is kept between its calls.
struct Stage<'a> {
    test: &'a Test,
    host: &'a VirtualHost,
    chain: Chain,
    heard: Arc<Heard>,
    fleet: Arc<FleetView>,
    now_ms: u64,
    /// What requests hold until they end.
    holds: BTreeMap<u64, Holds>,
    notes: BTreeMap<u64, Notes>,
    /// What the policy wrote since the last call began.
    lines: VecDeque<String>,
}

impl<'a> Stage<'a> {
    fn new(test: &'a Test, policy: Arc<dyn Policy>, host: &'a VirtualHost) -> Stage<'a> {
        let Description { name, version, .. } = policy.describe().clone();
        let author = Author { slot: SLOT.to_owned(), number: 1, name, version, digest: String::new() };
        let heard = Arc::new(Heard { policy, words: Mutex::default() });
        let chain = Chain::new(vec![Link::new(author, Arc::clone(&heard) as Arc<_>)], Arc::new(Fallback::default()));
        Stage {
            test,
            host,
            chain,
            heard,
            fleet: Arc::new(test.view()),
            now_ms: 0,
            holds: BTreeMap::new(),
            notes: BTreeMap::new(),
            lines: VecDeque::new(),
        }
    }

    fn failure_of_call(&mut self, hook: AskedHook, number: u64, expect: &Expect) -> Option<String> {
        self.lines.clear();
        let told = if number == 0 { &self.test.observe } else { &self.test.observe_between };
        if number > 0 {
            self.now_ms += self.test.advance_ms;
            self.host.set_now_ms(self.now_ms);
        }
        let last = self.test.request.id + number.saturating_sub(1);
        if let Err(fault) = self.tell(told, last) {
            return Some(self.with_words(format!("observe: {fault}"), &Words::default()));
        }
        let facts = Arc::new(self.test.request.facts(number));
        let got = self.ask(hook, &facts);
        let words = self.heard.take();
        let what = self.difference(expect, &got, &words)?;
        Some(self.with_words(what, &words))
    }

    fn ask(&mut self, hook: AskedHook, facts: &Arc<RequestFacts>) -> Got {
        let call = Call { now_ms: self.now_ms, facts, fleet: &self.fleet };
        match hook {
            AskedHook::Admit => {
                let decision = self.chain.admit(&call);
                let got = Got::of_admission(&decision);
                self.keep(facts.id, decision);
                got
            }
            AskedHook::Place => {
                let decision = self.chain.place(&call, &Tried::default());
                let got = Got::of_placement(&decision);
                self.keep(facts.id, decision);
                got
            }
        }
    }

    fn keep<V>(&mut self, request: u64, decision: Decision<V>) {
        self.holds.entry(request).or_default().extend(decision.words.holds);
        self.notes.entry(request).or_default().merge(&decision.notes);
    }

    /// What differs from what is expected, in words.
    fn difference(&self, expect: &Expect, got: &Got, words: &Words) -> Option<String> {
        if !expect.is_met_by(got) {
            return Some(format!("expected {expect}, got {}", got.0));
        }
        let reason = words.reason.as_deref().unwrap_or_default();
        if let Some(part) = self.test.expect_reason.as_deref().filter(|part| !reason.contains(part)) {
            return Some(format!("expected a reason with {part:?}"));
        }
        let value_of = |name: &str| words.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let wrong = self.test.expect_headers.iter().find(|(name, value)| value_of(name) != Some(value));
        wrong.map(|(name, value)| match value_of(name) {
            Some(other) => format!("expected the header {name}: {value}, got {other}"),
            None => format!("expected the header {name}: {value}, got none"),
        })
    }

    fn with_words(&mut self, mut text: String, words: &Words) -> String {
        self.lines.extend(self.host.take_written().lines);
        match &words.reason {
            Some(reason) => write!(text, "\nits reason: {reason}"),
            None => write!(text, "\nit gave no reason"),
        }
        .expect("a String takes everything");
        for line in &self.lines {
            write!(text, "\nit logged {line}").expect("a String takes everything");
        }
        text
    }

    fn tell(&mut self, told: &[Told], last: u64) -> Result<(), PolicyFault> {
        if told.is_empty() {
            return Ok(());
        }
        let events: Vec<Event> = told.iter().map(|told| self.event(told, last)).collect();
        for event in &events {
            if let Event::Ended { subject, .. } = event {
                self.holds.remove(&subject.request);
            }
        }
        self.heard.policy.observe(self.now_ms, &self.fleet, &events)
    }

    fn event(&self, told: &Told, last: u64) -> Event {
        let replica = |about: &About| ReplicaId(about.replica.unwrap_or_default());
        match told {
            Told::ReplicaUp(id) => Event::ReplicaUp(ReplicaId(*id)),
            Told::ReplicaDown(id) => Event::ReplicaDown(ReplicaId(*id)),
            Told::Started(about) => Event::Started { subject: self.subject(about, last), replica: replica(about) },
            Told::FirstToken(about) => Event::FirstToken {
                subject: self.subject(about, last),
                replica: replica(about),
                ttft_us: about.ttft_us,
            },
            Told::Failed(about) => {
                let kind = match about.why {
                    Why::Replica => FailureKind::Replica,
                    Why::Cancelled => FailureKind::Cancelled,
                    Why::Refused => FailureKind::Refused,
                };
                Event::Failed { subject: self.subject(about, last), replica: replica(about), kind }
            }
            Told::Ended(about) => {
                let outcome = match about.outcome {
                    Became::Finished => Outcome::Finished,
                    Became::Failed => Outcome::Failed,
                    Became::Cancelled => Outcome::Cancelled,
                    Became::Refused => Outcome::Refused,
                };
                let About { prompt_tokens, cached_tokens, output_tokens, .. } = *about;
                let usage = Usage { prompt_tokens, cached_tokens, output_tokens };
                let replica = about.replica.map(ReplicaId);
                Event::Ended { subject: self.subject(about, last), replica, outcome, usage }
            }
        }
    }

    fn subject(&self, about: &About, last: u64) -> Subject {
        let About { request, tenant, model, endpoint, .. } = about;
        let request = request.unwrap_or(last);
        Subject {
            request,
            tenant: tenant.as_deref().unwrap_or(&self.test.request.tenant).into(),
            model: model.as_deref().unwrap_or(&self.test.request.model).into(),
            endpoint: endpoint.as_deref().unwrap_or(&self.test.request.endpoint).into(),
            notes: Arc::new(self.notes.get(&request).cloned().unwrap_or_default()),
        }
    }
}

/// Remembers what a policy said, which a chain forgets when the policy passes.
struct Heard {
    policy: Arc<dyn Policy>,
    words: Mutex<Words>,
}

impl Heard {
    fn take(&self) -> Words {
        std::mem::take(&mut *self.words.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hear<V>(&self, answer: Answer<V>) -> Answer<V> {
        // The holds stay with the decision alone: a copy here would keep them.
        let words = Words { holds: Holds::default(), ..answer.words.clone() };
        *self.words.lock().unwrap_or_else(PoisonError::into_inner) = words;
        answer
    }
}

impl Policy for Heard {
    fn describe(&self) -> &Description {
        self.policy.describe()
    }

    fn admit(&self, call: &Call<'_>) -> Result<Answer<Admission>, PolicyFault> {
        self.policy.admit(call).map(|answer| self.hear(answer))
    }

    fn place(&self, call: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        self.policy.place(call).map(|answer| self.hear(answer))
    }

    fn observe(&self, now_ms: u64, fleet: &Arc<FleetView>, events: &[Event]) -> Result<(), PolicyFault> {
        self.policy.observe(now_ms, fleet, events)
    }
}

#[cfg(test)]
mod tests;
