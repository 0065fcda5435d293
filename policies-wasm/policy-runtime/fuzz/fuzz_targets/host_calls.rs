#![no_main]
//! Host calls with hostile arguments.

use std::sync::LazyLock;

use policy_fuzz::cases::HostCalls;

static CALLS: LazyLock<HostCalls> = LazyLock::new(HostCalls::start);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    CALLS.run(input);
});
