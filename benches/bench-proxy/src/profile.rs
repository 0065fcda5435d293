//! Shows where a proxy's time goes in one case: a flame graph, and the functions in order of their own time.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use inferno::collapse::Collapse;

use crate::cases::Case;
use crate::client::{Moment, drive};
use crate::peers::{Contender, Installed, Peer, start};
use crate::prompts::Requests;
use crate::run::{load, start_mock};

/// Samples a second: a prime, so that they do not march with the timers.
const SAMPLES_PER_SECOND: u32 = 997;
/// Functions with a smaller share of the time are left out of the list.
const SHARE_MIN: &str = "0.4";

/// Where what was found lies.
pub struct Found {
    /// The flame graph.
    pub graph: PathBuf,
    /// The functions with the most time of their own.
    pub list: String,
}

/// Runs the case against one contender and samples it through the window.
pub fn run(case: &Case, peer: Peer, installed: &Installed, window: Duration, folder: &Path) -> anyhow::Result<Found> {
    let folder = folder.join("profile").join(case.key);
    let (_mock, replicas) = start_mock(case.answer, &folder)?;
    let contender = start(peer, installed, &replicas, case.ask(), &folder)?;
    let data = folder.join("perf.data");
    sample(case, &contender, window, &data)?;
    let graph = folder.join("flamegraph.svg");
    draw(&folder, &data, &graph, &format!("{}, {}", peer.name, case.title))?;
    let mut report = Command::new("perf");
    report.args(["report", "--stdio", "--no-children", "--call-graph", "none", "--percent-limit", SHARE_MIN]);
    let list = read(report.arg("--input").arg(&data))?;
    let list: Vec<&str> = list.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).collect();
    Ok(Found { graph, list: list.join("\n") })
}

fn sample(case: &Case, contender: &Contender, window: Duration, data: &Path) -> anyhow::Result<()> {
    let ids: Vec<String> = contender.ids().iter().map(u32::to_string).collect();
    if ids.is_empty() {
        bail!("the replicas alone are not sampled");
    }
    let load = load(case, contender, window);
    let mut requests = Requests::new(case.ask(), case.body_bytes, 0);
    let mut perf = None;
    let counted = drive(&load, &mut requests, |moment| {
        if moment == Moment::Begin {
            perf = Some(record(&ids.join(","), window, data));
        }
    })?;
    let recorded = perf.context("a window has a begin")??.wait_with_output().context("wait for perf")?;
    if !recorded.status.success() {
        bail!("perf record failed ({}): {}", recorded.status, String::from_utf8_lossy(&recorded.stderr).trim());
    }
    if counted.failed() > 0 {
        bail!("{} requests went wrong: {:?}", counted.failed(), counted.errors);
    }
    Ok(())
}

/// The clock of the CPU, as virtual machines have no counters of cycles.
fn record(ids: &str, window: Duration, data: &Path) -> anyhow::Result<Child> {
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "--event", "cpu-clock", "--call-graph", "fp"]);
    perf.args(["--freq", &SAMPLES_PER_SECOND.to_string(), "--pid", ids, "--output"]).arg(data);
    perf.args(["--", "sleep", &window.as_secs().to_string()]);
    let output = perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    output.spawn().context("start perf; install Debian's linux-perf, and see /proc/sys/kernel/perf_event_paranoid")
}

fn draw(folder: &Path, data: &Path, graph: &Path, title: &str) -> anyhow::Result<()> {
    let stacks = read(Command::new("perf").args(["script", "--input"]).arg(data))?;
    let folded = folder.join("folded.txt");
    let into = File::create(&folded).with_context(|| format!("make {}", folded.display()))?;
    let mut folder = inferno::collapse::perf::Folder::from(inferno::collapse::perf::Options::default());
    folder.collapse(stacks.as_bytes(), into).context("fold the stacks")?;
    let mut options = inferno::flamegraph::Options::default();
    title.clone_into(&mut options.title);
    let from = BufReader::new(File::open(&folded).with_context(|| format!("read {}", folded.display()))?);
    let into = File::create(graph).with_context(|| format!("make {}", graph.display()))?;
    inferno::flamegraph::from_reader(&mut options, from, into).context("draw the flame graph; were there samples?")
}

fn read(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().context("start perf")?;
    if !output.status.success() {
        bail!("perf failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
