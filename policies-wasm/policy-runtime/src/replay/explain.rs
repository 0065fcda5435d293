//! One request's calls once more, with what the policy saw and was told each time.

use std::sync::Arc;

use policy_api::{FleetView, RequestFacts};

use super::{
    NotReplayed, Options, ReplayError, same,
    stage::{Run, Theatre},
};
use crate::{
    recording::{CallLine, PolicyLine, Recording, Track},
    tape::Tape,
};

/// One call, as it was and as it came out again.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Whose call it was.
    pub policy: PolicyLine,
    /// The call as it was recorded.
    pub call: CallLine,
    /// The request.
    pub facts: Arc<RequestFacts>,
    /// The request's prompt is in the recording.
    pub has_prompt: bool,
    /// The fleet.
    pub fleet: Arc<FleetView>,
    /// What the policy looked at, asked and was told.
    pub track: Track,
    /// Fuel that it used now.
    pub fuel: Option<u64>,
    /// Whether it came out as it was: none, or what differs.
    pub outcome: Result<Option<String>, NotReplayed>,
}

/// Explains every call about a request. Empty where the recording has none.
pub fn explain(recording: &Recording, request: u64, options: &Options) -> Result<Vec<Explained>, ReplayError> {
    let mut explained = Vec::new();
    let theatre = Theatre::open(recording, options)?;
    same::visit(recording, &theatre, &mut |at, run| {
        let call = &recording.calls[at];
        if call.request == Some(request) {
            explained.push((at, of(recording, call, run)));
        }
    });
    explained.sort_by_key(|(at, _)| *at);
    Ok(explained.into_iter().map(|(_, explained)| explained).collect())
}

fn of(recording: &Recording, call: &CallLine, run: Result<Run, NotReplayed>) -> Explained {
    let (track, fuel, outcome) = match run {
        Err(why) => (call.track.clone(), None, Err(why)),
        Ok(run) => {
            let track = match &run.tape {
                Tape::Playing(player) => player.track.clone(),
                Tape::Off | Tape::Recording(_) => call.track.clone(),
            };
            let fuel = run.answer.fuel;
            (track, fuel, Ok(same::judged(call, run).why))
        }
    };
    Explained {
        policy: recording.policies[&call.policy].line.clone(),
        call: call.clone(),
        facts: recording.facts(call).cloned().unwrap_or_default(),
        has_prompt: recording.header.prompts,
        fleet: recording.fleet(call).cloned().unwrap_or_default(),
        track,
        fuel,
        outcome,
    }
}
