//! `cargo xtask fuzz`: builds the fuzz targets and runs each for a bounded time.
//!
//! libFuzzer's counters go into our crates alone (`instrument.sh`), which the stable compiler can do; the targets' folders
//! are such that cargo-fuzz understands them too, but nothing of it is needed.

use std::path::Path;

use anyhow::Context;

use crate::{policies, tools};
use guest_build::shell::{cargo, program, run, step};

/// The targets' workspaces, each with its targets and the folder whose files they begin with, if there is one.
const FOLDERS: [(&str, &[&str], Option<&str>); 2] = [
    ("policies-wasm/policy-runtime/fuzz", &["loader", "host_calls", "config"], None),
    ("engine/engine-model/fuzz", &["gguf"], Some("engine/engine-model/golden/gguf")),
];
/// Adds the counters.
const INSTRUMENT: &str = "policies-wasm/policy-runtime/fuzz/instrument.sh";
/// Of one run of a target: memory, and time of a single input.
const MEMORY_MB_MAX: u32 = 2048;
const INPUT_SECONDS_MAX: u32 = 20;

pub(crate) fn fuzz(root: &Path, seconds: u32) -> anyhow::Result<()> {
    tools::cpp(root)?;
    step("building the fuzz targets; the first build takes some minutes");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into).join("fuzz");
    for (folder, _, _) in FOLDERS {
        let mut build = cargo(root);
        build.args(["build", "--bins"]).arg("--manifest-path").arg(root.join(folder).join("Cargo.toml"));
        run(build.arg("--target-dir").arg(&target).env("RUSTC_WRAPPER", root.join(INSTRUMENT)))?;
    }
    let targets = FOLDERS.iter().flat_map(|(_, names, seeds)| names.iter().map(move |name| (name, seeds)));
    for (name, seeds) in targets {
        step(&format!("fuzzing {name} for {seconds} s"));
        let corpus = target.join("corpus").join(name);
        std::fs::create_dir_all(&corpus).with_context(|| format!("make {}", corpus.display()))?;
        let mut fuzzer = program(root, target.join("debug").join(name));
        fuzzer
            .arg(&corpus)
            .args(seeds.map(|seeds| root.join(seeds)))
            .env("HEADWORKS_TEST_POLICIES", root.join(policies::DIST))
            .args([
                format!("-max_total_time={seconds}"),
                format!("-timeout={INPUT_SECONDS_MAX}"),
                format!("-rss_limit_mb={MEMORY_MB_MAX}"),
                format!("-artifact_prefix={}/{name}-", target.display()),
                "-print_final_stats=1".to_owned(),
                "-verbosity=0".to_owned(),
            ]);
        run(&mut fuzzer).with_context(|| format!("the input that broke {name} is in {}", target.display()))?;
    }
    Ok(())
}
