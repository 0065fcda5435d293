//! `cargo xtask bench engine`: sets llama.cpp up, writes the weights, measures, and joins the rows.

use std::path::{Path, PathBuf};

use anyhow::Context;
use guest_build::shell::{self, cargo, program, step};
use serde_json::{Value, json};

use super::SHIPPED;

const PEER: &str = "benches/bench-engine/peer";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Formats of the weights
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = ["bf16", "q8_0", "q4_0"])]
    weights: Vec<String>,
    /// Flags of the benchmark, e.g. --cases prefill:512,decode:8:128 --rounds 3
    #[arg(last = true)]
    flags: Vec<String>,
}

pub(super) fn run(root: &Path, args: &Args) -> anyhow::Result<()> {
    step("building the benchmark; the first time that takes minutes");
    shell::run(cargo(root).args(["build", "--profile", SHIPPED, "--package", "bench-engine"]))?;
    let folder = root.join("target/bench/engine");
    std::fs::create_dir_all(&folder).context("make the benchmark's folder")?;
    let python = peer(root, &folder)?;
    weights(root, &folder, &python)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let mut rows = Vec::new();
    for name in &args.weights {
        let (model, found) = (folder.join(format!("{name}.gguf")), folder.join(format!("{name}.json")));
        let mut bench = program(root, target.join(SHIPPED).join("bench-engine"));
        bench.arg("--model").arg(&model).args(["--weights", name]);
        bench.arg("--peer-python").arg(&python).arg("--peer-model").arg(&model);
        shell::run(bench.arg("--json").arg(&found).args(&args.flags))?;
        let text = std::fs::read_to_string(&found).context("read the benchmark's rows")?;
        let mut report: Value = serde_json::from_str(&text).context("read the benchmark's rows")?;
        rows.extend(report["rows"].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    let joined = root.join("target/bench/engine.json");
    let text = serde_json::to_string_pretty(&json!({ "rows": rows })).context("join the rows")?;
    std::fs::write(&joined, text + "\n").context("write the rows")?;
    step(&format!("the rows are in {}", joined.display()));
    Ok(())
}

/// A Python with llama.cpp, compiled for this machine.
fn peer(root: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    let requirements = root.join(PEER).join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).context("read the peer's requirements")?;
    let installed = venv.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|had| had == wanted) {
        return Ok(python);
    }
    step("installing llama.cpp, which is compiled for this machine: ten minutes or more");
    crate::tools::cpp(root)?;
    shell::run(program(root, "python3").args(["-m", "venv"]).arg(&venv))?;
    let off = ["LLAVA_BUILD", "MTMD_BUILD", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_TOOLS"];
    let flags: Vec<String> = off.iter().map(|name| format!("-D{name}=OFF")).collect();
    let mut pip = program(root, &python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements);
    shell::run(pip.env("CMAKE_ARGS", format!("-DGGML_NATIVE=ON {}", flags.join(" "))))?;
    std::fs::write(&installed, wanted).context("note what was installed")?;
    Ok(python)
}

/// The same numbers in every format, written once.
fn weights(root: &Path, folder: &Path, python: &Path) -> anyhow::Result<()> {
    // The folder in Hugging Face layout is written last.
    if folder.join("bf16/config.json").exists() {
        return Ok(());
    }
    step("writing random weights of the 0.5B shape, 3 GB");
    shell::run(program(root, python).arg(root.join(PEER).join("weights.py")).arg(folder))
}
