//! What the targets call: the same functions as the seeded tests, and where the components are that they spoil.

use std::path::{Path, PathBuf};

#[path = "../../tests/e2e/hostile/cases/mod.rs"]
pub mod cases;

/// The shipped components; `cargo xtask policies` builds them.
pub fn shipped() -> Vec<Vec<u8>> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist");
    cases::components(&std::env::var_os("HEADWORKS_TEST_POLICIES").map_or(built, PathBuf::from))
}
