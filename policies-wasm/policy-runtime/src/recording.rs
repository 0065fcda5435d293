//! What a recording is made of: each call of a policy with everything that its answer followed from.
//!
//! A decision follows from the component, its configuration, the time, the call's chance, the request, the fleet, and
//! what the host answered when the policy asked for what it shares with others. With all of that written down, a call
//! can be made again and must come out the same, bit for bit.

mod encode;
mod excerpt;
mod heard;
mod lines;
mod read;

use std::{fmt, sync::Arc, time::Duration};

use policy_api::{Event, FleetView, Hook, Mode, RequestFacts};

pub use encode::Encoder;
pub use excerpt::excerpt;
pub use heard::{Ask, Entry, Heard, Look, Looked, Prefix, Told, Track};
pub use lines::{
    Answer, CallLine, ComponentLine, EndLine, EndReason, FORMAT, FactsLine, FleetLine, GapLine, Header, Line,
    PolicyLine, Said, StartLine,
};
pub use read::{Policy, ReadError, Recording};

/// What a [`crate::Host`] is told while it records.
#[derive(Clone, Debug)]
pub enum Record {
    /// An instance is ready for its first call.
    Start(Start),
    /// A call has ended.
    Call(Box<Call>),
}

/// Who a recorded policy is: one component under one configuration in one slot.
#[derive(Clone)]
pub struct Who {
    /// The slot.
    pub slot: String,
    /// The policy's own name.
    pub name: String,
    /// The policy's own version.
    pub version: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// What it was configured with.
    pub config_json: String,
    /// Whether it keeps state between calls.
    pub mode: Mode,
    /// The component's bytes.
    pub component: Arc<[u8]>,
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Who { slot, name, version, digest, .. } = self;
        write!(f, "Who({slot}: {name} {version}, {digest})")
    }
}

/// How an instance began.
#[derive(Clone, Debug)]
pub struct Start {
    /// Whose instance it is.
    pub who: Arc<Who>,
    /// Names the instance for as long as the process lives.
    pub instance: u64,
    /// The time it was configured at.
    pub now_ms: u64,
    /// What it heard while it was configured.
    pub configure: Track,
    /// The state it took over, if it did.
    pub inherited: Option<Vec<u8>>,
}

/// One call, as it was.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who was asked.
    pub who: Arc<Who>,
    /// Which instance was, if one was free.
    pub instance: Option<u64>,
    /// How many calls that instance had before this one.
    pub turn: u64,
    /// What it was asked.
    pub hook: Hook,
    /// The time it was told.
    pub now_ms: u64,
    /// What its chance followed from.
    pub chance: u64,
    /// The request.
    pub facts: Option<Arc<RequestFacts>>,
    /// The fleet.
    pub fleet: Option<Arc<FleetView>>,
    /// What it was told of.
    pub events: Arc<[Event]>,
    /// What it looked at and heard.
    pub track: Track,
    /// What it answered.
    pub answer: Answer,
    /// How long it took.
    pub took: Duration,
}

impl Record {
    /// About how many bytes it keeps alive.
    pub fn bytes(&self) -> usize {
        match self {
            Record::Start(start) => size_of::<Start>() + start.inherited.as_ref().map_or(0, Vec::len),
            Record::Call(call) => {
                let Call { facts, fleet, events, track, answer, .. } = &**call;
                let heard: usize = track.heard.iter().map(Heard::bytes).sum();
                let answered = match &answer.said {
                    Said::Snapshot(bytes) => bytes.len(),
                    _ => 0,
                };
                let columns = fleet.as_ref().map_or(0, |fleet| fleet.len() * FLEET_COLUMNS * size_of::<u32>());
                let prompt =
                    facts.as_ref().map_or(0, |facts| facts.prompt.len() + facts.tokens.len() * size_of::<u32>());
                size_of::<Call>() + heard + answered + columns + prompt + size_of_val(&**events)
            }
        }
    }
}

/// Columns of a fleet.
const FLEET_COLUMNS: usize = 15;
