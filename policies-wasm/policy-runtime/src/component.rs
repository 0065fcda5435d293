//! One loaded component, as a policy.

use std::sync::Arc;

use policy_api::{
    Admission, Answer, Call, Description, Event, FleetView, Placement, Policy, PolicyFault,
};

/// One loaded component. Calls may come from many threads.
pub struct Component {
    description: Description,
    digest: String,
    bytes: usize,
}

/// How often a component failed, by kind, since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// It trapped.
    pub trapped: u64,
    /// It ran past its deadline.
    pub deadline_passed: u64,
    /// It ran out of fuel.
    pub out_of_fuel: u64,
    /// It wanted more memory than it may have.
    pub out_of_memory: u64,
    /// No instance came free in time.
    pub no_instance: u64,
    /// It answered what no policy may answer.
    pub bad_answer: u64,
}

impl Faults {
    /// All kinds together.
    pub fn total(&self) -> u64 {
        let Faults {
            trapped,
            deadline_passed,
            out_of_fuel,
            out_of_memory,
            no_instance,
            bad_answer,
        } = self;
        trapped + deadline_passed + out_of_fuel + out_of_memory + no_instance + bad_answer
    }
}

impl Component {
    /// `sha256:` and the digest of the component's bytes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The component's size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How often it failed since it was loaded.
    pub fn faults(&self) -> Faults {
        Faults::default()
    }
}

impl Policy for Component {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn admit(&self, _call: &Call<'_>) -> Result<Answer<Admission>, PolicyFault> {
        Err(PolicyFault::NoInstance)
    }

    fn place(&self, _call: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        Err(PolicyFault::NoInstance)
    }

    fn observe(
        &self,
        _now_ms: u64,
        _fleet: &Arc<FleetView>,
        _events: &[Event],
    ) -> Result<(), PolicyFault> {
        Err(PolicyFault::NoInstance)
    }
}
