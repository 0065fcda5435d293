#![no_main]
//! Configurations for shipped policies.

use std::sync::LazyLock;

use policy_fuzz::cases::Config;

static CONFIGS: LazyLock<Config> = LazyLock::new(|| Config::new(&policy_fuzz::shipped()));

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    CONFIGS.load(input);
});
