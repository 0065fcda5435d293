//! The recorded policies once more: each instance's calls in their order, one instance after another.

use std::collections::BTreeMap;

use policy_api::{Hook, Mode};

use super::{
    NotReplayed, Outcomes, Replayed, check_call,
    stage::{Run, Stage, Theatre},
    stray_words,
};
use crate::{
    instance::Instance,
    recording::{Answer, CallLine, Recording, Said},
    tape::Tape,
};

/// Makes every call again.
pub(super) fn play(recording: &Recording, theatre: &Theatre, outcomes: Outcomes<'_>) {
    visit(recording, theatre, &mut |at, run| outcomes(at, run.map(|run| judged(&recording.calls[at], run))));
}

/// The same for one who wants to see the calls as they were made. A snapshot is made for others to begin from, and is no
/// answer of its own.
pub(super) fn visit(
    recording: &Recording,
    theatre: &Theatre,
    visitor: &mut dyn FnMut(usize, Result<Run, NotReplayed>),
) {
    for (policy, instances) in by_instance(recording) {
        let policy = &recording.policies[&policy];
        let stage = match policy.component {
            Some(_) => theatre.stage(recording, policy).map_err(|error| NotReplayed::Load(error.to_string())),
            None => Err(NotReplayed::NoComponent),
        };
        for (instance, calls) in instances {
            let start = instance.and_then(|instance| recording.starts.get(&instance));
            let mut life = stage.as_ref().ok().map(|stage| Life::begin(stage, start, policy.line.mode));
            for at in calls {
                let call = &recording.calls[at];
                let run = match (&stage, &mut life) {
                    (Ok(_), Some(life)) => check_call(call, policy).and_then(|()| life.live(recording, call)),
                    (Err(why), _) => Err(why.clone()),
                    (Ok(_), None) => Err(NotReplayed::NoComponent),
                };
                if run.is_err()
                    && let Some(life) = &mut life
                {
                    life.forget();
                }
                if call.hook != Hook::Snapshot {
                    visitor(at, run);
                }
            }
        }
    }
}

/// The calls' places, by policy and instance, in the order of the instance's turns.
fn by_instance(recording: &Recording) -> BTreeMap<u32, BTreeMap<Option<u64>, Vec<usize>>> {
    let mut groups: BTreeMap<u32, BTreeMap<Option<u64>, Vec<usize>>> = BTreeMap::new();
    for (at, call) in recording.calls.iter().enumerate() {
        groups.entry(call.policy).or_default().entry(call.instance).or_default().push(at);
    }
    for calls in groups.values_mut().flat_map(BTreeMap::values_mut) {
        calls.sort_by_key(|at| recording.calls[*at].turn);
    }
    groups
}

/// One instance's life, lived again.
struct Life<'a> {
    stage: &'a Stage<'a>,
    mode: Mode,
    /// None: it is to be made anew (`pooled`), or its state is not known (`single`).
    instance: Option<Instance>,
    next_turn: u64,
}

impl<'a> Life<'a> {
    fn begin(stage: &'a Stage<'a>, start: Option<&crate::recording::StartLine>, mode: Mode) -> Life<'a> {
        let instance = match (mode, start) {
            (Mode::Single, None) => None,
            (Mode::Single | Mode::Pooled, _) => stage.instance(start).ok(),
        };
        Life { stage, mode, instance, next_turn: 0 }
    }

    /// What was not made again may have changed the instance's state.
    fn forget(&mut self) {
        if self.mode == Mode::Single {
            self.instance = None;
        }
    }

    fn live(&mut self, recording: &Recording, call: &CallLine) -> Result<Run, NotReplayed> {
        let is_next = self.next_turn == call.turn;
        self.next_turn = call.turn + 1;
        match self.mode {
            Mode::Single if !is_next => self.instance = None,
            Mode::Single => {}
            Mode::Pooled if self.instance.is_none() => self.instance = Some(self.fresh()?),
            Mode::Pooled => {}
        }
        if let (None, Said::Snapshot(bytes)) = (&self.instance, &call.answer.said) {
            let restored = self.stage.restore(self.fresh()?, call.now_ms, bytes);
            self.instance = Some(restored.map_err(|error| NotReplayed::Load(error.to_string()))?);
            // It begins with what the call answered: there is nothing to be made again.
            return Ok(Run::of_recorded(call));
        }
        let instance = self.instance.as_mut().ok_or(NotReplayed::StateUnknown)?;
        let run = self.stage.play(instance, recording, call);
        if run.is_spent {
            self.instance = None;
        }
        if run.tape.missed_prompt() {
            return Err(NotReplayed::PromptsWithheld);
        }
        Ok(run)
    }

    fn fresh(&self) -> Result<Instance, NotReplayed> {
        self.stage.instance(None).map_err(|error| NotReplayed::Load(error.to_string()))
    }
}

/// Whether a call came out as it was.
pub(super) fn judged(call: &CallLine, run: Run) -> Replayed {
    let stray = match &run.tape {
        Tape::Playing(player) => player.stray(),
        Tape::Off | Tape::Recording(_) => None,
    };
    let why = stray.map(|stray| stray_words(&stray)).or_else(|| other_part(&call.answer, &run.answer));
    Replayed { said: run.answer, why }
}

/// The first part of an answer that is not as it was. Fuel is none: a proxy does not meter it.
fn other_part(recorded: &Answer, replayed: &Answer) -> Option<String> {
    let Answer { said, reason, attributes, headers, note, fuel: _ } = recorded;
    let parts = [
        ("verdict", *said == replayed.said),
        ("reason", *reason == replayed.reason),
        ("attributes", *attributes == replayed.attributes),
        ("headers", *headers == replayed.headers),
        ("note", *note == replayed.note),
    ];
    let (part, _) = parts.into_iter().find(|(_, is_same)| !is_same)?;
    Some(format!("its {part} differs"))
}
