//! Makes cargo embed the dashboard again when it was built again, and lets the crate compile before it was built once.

use std::fs;

fn main() {
    // A missing path in `rerun-if-changed` would rebuild this crate and all above it every time, so the folder is made;
    // an empty one embeds the page that `src/lib.rs` keeps for that case.
    if let Err(error) = fs::create_dir_all("dist") {
        println!(
            "cargo::warning=web-ui/dist cannot be created ({error}); the dashboard is embedded anew in every build"
        );
    }
    println!("cargo::rerun-if-changed=dist");
    println!("cargo::rerun-if-changed=build.rs");
}
