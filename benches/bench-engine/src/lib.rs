//! Measures the engine's forward passes, alone or beside llama.cpp on the same weights, by turns.

mod case;
mod machine;
mod ours;
mod peer;
mod report;

use std::path::PathBuf;

use anyhow::{Context, bail};

pub use case::Case;
pub use report::{Report, Row};

use case::Sample;
use ours::Ours;
use peer::Peer;

/// What to measure, and beside whom.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A model: a folder in Hugging Face layout, or a GGUF file
    #[arg(long, value_name = "PATH")]
    model: PathBuf,
    /// What the rows call its weights, e.g. bf16
    #[arg(long, value_name = "NAME", default_value = "bf16")]
    weights: String,
    /// What to measure: prefill:TOKENS or decode:BATCH:CONTEXT, several by commas
    #[arg(long, value_name = "CASES", value_delimiter = ',', default_values_t = Case::ordinary())]
    cases: Vec<Case>,
    /// Rounds of each case; a round is one sample of us and one of the peer
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// A Python with llama-cpp-python, to run llama.cpp beside us
    #[arg(long, value_name = "PROGRAM", requires = "peer_model")]
    peer_python: Option<PathBuf>,
    /// The same weights for llama.cpp, a GGUF file
    #[arg(long, value_name = "FILE", requires = "peer_python")]
    peer_model: Option<PathBuf>,
    /// Threads of either side. On a busy machine compare one thread's processor time: nothing then waits for another
    #[arg(long, value_name = "N", default_value_t = machine::processors())]
    threads: usize,
    /// Keep keys and values so
    #[arg(long, value_enum, default_value_t = Kv::Bf16)]
    kv: Kv,
    /// Write the rows here too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kv {
    F32,
    Bf16,
    Int8,
}

/// Loads both sides and lets them take turns.
pub fn run(args: &Args) -> anyhow::Result<Report> {
    if args.cases.is_empty() || args.rounds == 0 {
        bail!("nothing to measure: give --cases and --rounds of at least one");
    }
    let bandwidth = machine::read_bandwidth();
    let mut ours = Ours::load(&args.model, args.kv, args.threads, &args.cases).context("load the model")?;
    let mut peer = match (&args.peer_python, &args.peer_model) {
        (Some(python), Some(model)) => {
            Some(Peer::start(python, model, args.threads, &args.cases).context("start llama.cpp")?)
        }
        _ => None,
    };
    let mut rows = ours.loading(&args.weights);
    for case in &args.cases {
        let load = machine::Load::begin(peer.as_ref().map(Peer::process));
        ours.warm_up(*case)?;
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            mine.push(ours.sample(*case)?);
            if let Some(peer) = &mut peer {
                theirs.push(peer.sample(*case)?);
            }
        }
        let others = load.share_of_others();
        rows.extend(report::rows(*case, &args.weights, &mine, &theirs, others));
        if let Case::Decode { batch: 1, .. } = case {
            rows.extend(ours.of_floor(*case, &args.weights, Sample::best(&mine), bandwidth));
        }
    }
    let (backend, peer) = (ours.backend_name(), peer.map(|peer| peer.name.clone()));
    let report = Report { backend, peer, bandwidth_gb_s: bandwidth / 1e9, rows };
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&report).context("write the rows as JSON")?;
        std::fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))?;
    }
    Ok(report)
}
