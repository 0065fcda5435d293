//! Makes recorded calls again: by the policy that was recorded, which must answer the same bit for bit, or by another
//! one, to see what it would have decided.

mod explain;
mod other;
mod report;
mod same;
mod stage;

use std::time::Duration;

use policy_api::{Admission, Denial, Placement};
use thiserror::Error;

use crate::{
    LoadError,
    recording::{CallLine, Policy, Recording, Said},
    tape::Stray,
};
use report::Tally;
use stage::Theatre;

pub use explain::{Explained, explain};
pub use other::Other;
pub use report::{Difference, Fuel, Outcome, PolicyReport, Report};

/// How a replay is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Fuel of one call: it takes the place of the deadline, which no two runs reach alike.
    pub fuel_max: u64,
    /// Differences that a report describes; all are counted.
    pub differences_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { fuel_max: 1_000_000_000, differences_max: 20 }
    }
}

/// Why a replay could not begin.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The other policy cannot be loaded, or the runtime cannot start.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There are several slots that it could take the place of.
    #[error("the recording has decisions of the slots {}: choose one of them", .slots.join(", "))]
    WhichSlot {
        /// Their names.
        slots: Vec<String>,
    },
    /// There is no such slot.
    #[error("the recording has no decisions of the slot {slot}; it has those of {}", .slots.join(", "))]
    NoSlot {
        /// The one that was asked for.
        slot: String,
        /// Those there are.
        slots: Vec<String>,
    },
    /// Nothing was decided.
    #[error("the recording has no decisions")]
    NoDecisions,
}

/// Why a call was not made again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum NotReplayed {
    /// Its component is missing.
    #[error("the recording has no component for it")]
    NoComponent,
    /// Its component cannot be loaded any more.
    #[error("its policy cannot be loaded: {0}")]
    Load(String),
    /// A policy with a state of its own, of which the recording says nothing up to here.
    #[error(
        "its policy keeps state, which is not known here: calls are missing before it, or none of its snapshots was \
         recorded"
    )]
    StateUnknown,
    /// The policy read a prompt that was not recorded.
    #[error("prompts were not recorded, and its policy reads them: record with `prompts` on")]
    PromptsWithheld,
    /// It ran past its deadline, and time is not replayed.
    #[error("it ran past its deadline, which depends on the machine")]
    DeadlinePassed,
    /// Nobody was asked.
    #[error("no instance was free, so nobody was asked")]
    NoInstance,
    /// It asked more than is kept of one call.
    #[error("it asked the host more than a recording keeps of one call")]
    Cut,
}

/// Makes every call again with the policy that was recorded.
pub fn replay(recording: &Recording, options: &Options) -> Result<Report, ReplayError> {
    let mut tally = Tally::new(recording, options);
    same::play(recording, &Theatre::open(recording, options)?, &mut |at, outcome| tally.count(at, outcome));
    Ok(tally.report())
}

/// Puts each decision of a slot to another policy, in the order in which they were recorded.
pub fn compare(recording: &Recording, other: &Other<'_>, options: &Options) -> Result<Report, ReplayError> {
    let mut tally = Tally::new(recording, options);
    let remarks = other::play(recording, &Theatre::open(recording, options)?, other, &mut |at, outcome| {
        tally.count(at, outcome)
    })?;
    Ok(tally.with_remarks(remarks).report())
}

/// What became of a call that was made again.
pub(crate) struct Replayed {
    /// What it answered.
    pub said: crate::recording::Answer,
    /// None: it answered as it should.
    pub why: Option<String>,
}

/// Where each call's outcome goes, by the call's place in the recording.
type Outcomes<'a> = &'a mut dyn FnMut(usize, Result<Replayed, NotReplayed>);

/// Whether a call can be made again at all.
fn check_call(call: &CallLine, policy: &Policy) -> Result<(), NotReplayed> {
    use policy_api::PolicyFault::{DeadlinePassed, NoInstance};
    match (&call.answer.said, call.instance) {
        _ if policy.component.is_none() => Err(NotReplayed::NoComponent),
        (Said::Fault(NoInstance), _) | (_, None) => Err(NotReplayed::NoInstance),
        (Said::Fault(DeadlinePassed { .. }), _) => Err(NotReplayed::DeadlinePassed),
        _ if call.track.is_cut => Err(NotReplayed::Cut),
        _ => Ok(()),
    }
}

/// A verdict in words.
pub fn verdict_words(said: &Said) -> String {
    let away = |verb: &str, denial: &Denial| {
        let Denial { status, retry_after_ms, message } = denial;
        let wait = retry_after_ms.map(|ms| format!(", again in {:?}", Duration::from_millis(u64::from(ms))));
        format!("{verb} {status}{}: {message}", wait.unwrap_or_default())
    };
    match said {
        Said::Admit(Admission::Allow) => "allow".to_owned(),
        Said::Admit(Admission::Deny(denial)) => away("deny", denial),
        Said::Admit(Admission::Pass) | Said::Place(Placement::Pass) => "pass".to_owned(),
        Said::Place(Placement::Replica(id)) => format!("replica {}", id.0),
        Said::Place(Placement::Region(id)) => format!("region {}", id.0),
        Said::Place(Placement::Hold) => "hold".to_owned(),
        Said::Place(Placement::Reject(denial)) => away("reject", denial),
        Said::Observed => "observed".to_owned(),
        Said::Snapshot(bytes) => format!("a snapshot of {} bytes", bytes.len()),
        Said::Fault(fault) => format!("fault: {fault}"),
    }
}

fn stray_words(stray: &Stray) -> String {
    let Stray { at, recorded, asked } = stray;
    let at = at + 1;
    match (recorded, asked) {
        (Some(recorded), Some(asked)) => format!("its question {at} is {asked}; the recording has {recorded}"),
        (None, Some(asked)) => format!("its question {at} is {asked}; the recording has no more"),
        (Some(recorded), None) => format!("it ends before its question {at}, which in the recording is {recorded}"),
        (None, None) => unreachable!("a stray has a question on one side at least"),
    }
}
