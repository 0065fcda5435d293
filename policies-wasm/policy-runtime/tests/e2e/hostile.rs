//! What the fuzzers do, on some thousand inputs that follow from seeds: found by a plain test run, without a fuzzer.

mod cases;

use std::path::PathBuf;

use cases::{Config, HostCalls, Loader, guest};

/// The shipped components, where the command that runs all tests has built them.
fn shipped() -> Vec<Vec<u8>> {
    let folder = std::env::var_os("HEADWORKS_TEST_POLICIES")
        .expect("HEADWORKS_TEST_POLICIES names the folder with the built policies; `cargo xtask test` sets it");
    cases::components(&PathBuf::from(folder))
}

/// SplitMix64: the same inputs every time.
fn inputs(seed: u64, count: usize, bytes_max: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..count).map(move |_| {
        let bytes = 1 + next() as usize % bytes_max;
        (0..bytes).map(|_| next() as u8).collect()
    })
}

#[test]
fn no_component_however_mutated_breaks_the_loader() {
    // The small ones: what a mutation leaves whole is compiled, and a larger one only takes longer.
    let mut bases = shipped();
    bases.sort_by_key(Vec::len);
    bases.truncate(2);
    bases.push(guest::component());
    let loader = Loader::new(bases);
    let refused = inputs(1, 160, 48).filter(|input| loader.load(input).is_some()).count();
    assert!(refused > 60, "only {refused} were refused: the mutations do not bite");
}

#[test]
fn no_argument_of_a_host_call_breaks_the_host() {
    let calls = HostCalls::start();
    let ended_well = inputs(2, 3000, 40).filter(|input| calls.run(input)).count();
    assert!(ended_well > 50, "only {ended_well} came to their end: too many stop at their first argument");
}

#[test]
fn no_configuration_breaks_a_shipped_policy() {
    let configs = Config::new(&shipped());
    let refused = inputs(3, 16, 96).filter(|input| configs.load(input).is_some()).count();
    assert!(refused > 0, "only {refused} were refused: the values are too tame");
}

#[test]
fn a_refusal_is_short_however_long_the_names_are() {
    let loader = Loader::new(vec![]);
    for name in ["a".repeat(90_000), format!("headworks:policy/x@0.1.0-{}", "a".repeat(90_000))] {
        let component = format!("(component (import \"{name}\" (instance)))");
        let component = wat::parse_str(component).expect("the name may be that long");
        assert!(loader.load_whole(&component).is_some());
    }
}
