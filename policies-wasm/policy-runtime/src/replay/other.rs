//! Another policy in the place of the recorded one: the same requests at the same times and fleets, a slot of its own.

use std::collections::{BTreeSet, HashMap};

use policy_api::{Admission, Event, Holds, Hook, Notes, Placement, Policy as _, Subject};

use super::{
    NotReplayed, Outcomes, ReplayError, Replayed,
    stage::{Run, Stage, Theatre},
};
use crate::{
    instance::Instance,
    recording::{self, CallLine, Recording, Said},
};

/// The policy that is asked in place of the recorded one.
#[derive(Clone, Copy, Debug)]
pub struct Other<'a> {
    /// Its component.
    pub component: &'a [u8],
    /// A JSON object, or empty for none.
    pub config_json: &'a str,
    /// In whose place; none where the recording has decisions of one slot only.
    pub slot: Option<&'a str>,
}

/// Puts each call of the slot to the other policy, and says what is to be known about the outcome.
pub(super) fn play(
    recording: &Recording,
    theatre: &Theatre,
    other: &Other<'_>,
    outcomes: Outcomes<'_>,
) -> Result<Vec<String>, ReplayError> {
    let slot = slot_of(recording, other.slot)?;
    let stage = theatre.load(recording, &slot, other.component, other.config_json)?;
    let calls = || recording.calls.iter().enumerate().filter(|(_, call)| slot_named(recording, call) == slot);
    let hears_events = calls().any(|(_, call)| call.hook == Hook::Observe);
    let mut understudy = Understudy { stage, slot: &slot, instance: None, requests: HashMap::new(), hears_events };
    for (at, call) in calls() {
        match call.hook {
            Hook::Admit | Hook::Place => outcomes(at, understudy.decide(recording, call)),
            Hook::Observe => understudy.observe(recording, call),
            Hook::Configure | Hook::Snapshot => {}
        }
    }
    let asked: BTreeSet<&str> = calls().map(|(_, call)| word(call.hook)).collect();
    Ok(remarks(&understudy.stage, &asked, hears_events))
}

/// The slot whose decisions are meant.
fn slot_of(recording: &Recording, wanted: Option<&str>) -> Result<String, ReplayError> {
    let decides = |call: &&CallLine| matches!(call.hook, Hook::Admit | Hook::Place);
    let slots: BTreeSet<&str> =
        recording.calls.iter().filter(decides).map(|call| slot_named(recording, call)).collect();
    let named = || slots.iter().map(|slot| (*slot).to_owned()).collect();
    match (wanted, slots.len()) {
        (_, 0) => Err(ReplayError::NoDecisions),
        (Some(slot), _) if slots.contains(slot) => Ok(slot.to_owned()),
        (Some(slot), _) => Err(ReplayError::NoSlot { slot: slot.to_owned(), slots: named() }),
        (None, 1) => Ok(slots.into_iter().collect()),
        (None, _) => Err(ReplayError::WhichSlot { slots: named() }),
    }
}

fn slot_named<'a>(recording: &'a Recording, call: &CallLine) -> &'a str {
    recording.policies.get(&call.policy).map_or("", |policy| &policy.line.slot)
}

fn remarks(stage: &Stage<'_>, asked: &BTreeSet<&str>, hears_events: bool) -> Vec<String> {
    let description = stage.component().describe();
    let mut remarks = Vec::new();
    for hook in [Hook::Admit, Hook::Place, Hook::Observe] {
        if description.has(hook) && !asked.contains(word(hook)) {
            let word = word(hook);
            remarks.push(format!(
                "the other policy has the hook {word}, of which the recording has no calls: it was not asked"
            ));
        }
    }
    if !hears_events {
        let what = "the recording does not say when requests ended: what the other policy holds for one was given back at once";
        remarks.push(what.to_owned());
    }
    remarks.push("the fleet was as recorded: it does not feel what the other policy would have done to it".to_owned());
    remarks
}

fn word(hook: Hook) -> &'static str {
    match hook {
        Hook::Configure => "configure",
        Hook::Admit => "admit",
        Hook::Place => "place",
        Hook::Observe => "observe",
        Hook::Snapshot => "snapshot",
    }
}

/// The other policy, and what it has done so far.
struct Understudy<'a> {
    stage: Stage<'a>,
    slot: &'a str,
    instance: Option<Instance>,
    requests: HashMap<u64, Known>,
    hears_events: bool,
}

/// What is known of a request that has not ended.
#[derive(Default)]
struct Known {
    note: Option<Vec<u8>>,
    holds: Holds,
}

impl Understudy<'_> {
    fn decide(&mut self, recording: &Recording, call: &CallLine) -> Result<Replayed, NotReplayed> {
        let said = match self.stage.component().describe().has(call.hook) {
            true => {
                let run = self.ask(recording, call, &[])?;
                let said = run.answer.clone();
                self.keep(call, run);
                said
            }
            false => recording::Answer::bare(match call.hook {
                Hook::Admit => Said::Admit(Admission::Pass),
                _ => Said::Place(Placement::Pass),
            }),
        };
        let differs = said.said != call.answer.said;
        Ok(Replayed { said, why: differs.then(|| "another verdict".to_owned()) })
    }

    /// An event's note is the other policy's own, and a request that ended holds nothing more.
    fn observe(&mut self, recording: &Recording, call: &CallLine) {
        let events: Vec<Event> = call.events.iter().map(|event| self.renoted(event)).collect();
        if self.stage.component().describe().has(Hook::Observe) {
            // A fault costs it its instance, as it would have; it decides nothing.
            let _ = self.ask(recording, call, &events);
        }
        for event in &events {
            if let Event::Ended { subject, .. } = event {
                self.requests.remove(&subject.request);
            }
        }
    }

    fn ask(&mut self, recording: &Recording, call: &CallLine, events: &[Event]) -> Result<Run, NotReplayed> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.stage.instance(None).map_err(|error| NotReplayed::Load(error.to_string()))?,
        };
        let run = self.stage.ask(&mut instance, recording, call, events);
        if !run.is_spent {
            self.instance = Some(instance);
        }
        if run.tape.missed_prompt() { Err(NotReplayed::PromptsWithheld) } else { Ok(run) }
    }

    fn keep(&mut self, call: &CallLine, run: Run) {
        let Some(request) = call.request.filter(|_| self.hears_events) else { return };
        let known = self.requests.entry(request).or_default();
        known.note = run.answer.note.or(known.note.take());
        known.holds.extend(run.holds);
    }

    fn renoted(&self, event: &Event) -> Event {
        let mut event = event.clone();
        let subject = match &mut event {
            Event::Started { subject, .. }
            | Event::FirstToken { subject, .. }
            | Event::Failed { subject, .. }
            | Event::Ended { subject, .. } => subject,
            Event::ReplicaUp(_) | Event::ReplicaDown(_) => return event,
        };
        let note = self.requests.get(&subject.request).and_then(|known| known.note.as_deref()).unwrap_or_default();
        let mut notes = Notes::default();
        notes.set(self.slot, note.into());
        *subject = Subject { notes: notes.into(), ..subject.clone() };
        event
    }
}
