#![no_main]
//! Components, mutated.

use std::sync::LazyLock;

use policy_fuzz::cases::{Loader, guest};

static LOADER: LazyLock<Loader> = LazyLock::new(|| {
    let mut bases = policy_fuzz::shipped();
    bases.push(guest::component());
    Loader::new(bases)
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    LOADER.load(input);
});
