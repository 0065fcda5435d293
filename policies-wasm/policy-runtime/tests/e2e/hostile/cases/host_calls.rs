//! Calls every import with arguments that the input chooses: pointers anywhere, lengths of any size, stale handles.

use policy_runtime::{Component, Runtime};

use super::guest;
use super::stage::{SLOT, ask, check_slot, runtime};

/// Bytes of one script.
const SCRIPT_BYTES_MAX: usize = 4096;

/// A guest that reads its calls from its request's prompt.
pub struct HostCalls {
    runtime: Runtime,
    guest: Component,
}

impl HostCalls {
    pub fn start() -> HostCalls {
        let runtime = runtime();
        let guest = runtime.load(SLOT, &guest::component(), "", None).expect("the guest is sound");
        HostCalls { runtime, guest }
    }

    /// Whether the guest came to the end of its calls; one that hands over nonsense is stopped at that.
    pub fn run(&self, input: &[u8]) -> bool {
        let script = &input[..input.len().min(SCRIPT_BYTES_MAX)];
        let ended = ask(&self.guest, script.len() as u64, &[&[guest::SCRIPT_BEGINS], script].concat());
        check_slot(&self.runtime);
        ended
    }
}
