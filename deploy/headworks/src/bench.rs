//! `headworks bench`: measures a live endpoint, or a model on this machine.

use std::path::PathBuf;

use anyhow::bail;
use bench_load::{Report, Scenario, Target};
use clap::Subcommand;

use crate::demo::table;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Play a scenario against OpenAI-compatible endpoints and print the report
    Load(LoadArgs),
    /// Measure a model's forward passes on this machine, alone or beside llama.cpp
    Engine(bench_engine::Args),
}

#[derive(clap::Args)]
pub(crate) struct LoadArgs {
    /// An endpoint without /v1, e.g. http://127.0.0.1:8080; give it several times to spread the load
    #[arg(long = "url", value_name = "URL", required = true)]
    urls: Vec<String>,
    /// The model to ask for
    #[arg(long)]
    model: String,
    /// The scenario, a TOML file of benches/scenarios
    #[arg(long, value_name = "FILE")]
    scenario: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Load(args) => load(&args),
        Verb::Engine(args) => {
            print!("{}", bench_engine::run(&args)?);
            Ok(())
        }
    }
}

fn load(args: &LoadArgs) -> anyhow::Result<()> {
    let scenario = Scenario::load(&args.scenario)?;
    let targets: Vec<Target> = args
        .urls
        .iter()
        .map(|url| Target { name: url.clone(), base_url: url.trim_end_matches('/').to_owned() })
        .collect();
    let report: Report =
        crate::runtime()?.block_on(bench_load::drive(&scenario, &targets, &args.model, table::show_progress));
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", table::report(&report));
    }
    if report.failures > 0 {
        bail!("{} of {} requests failed; the first: {}", report.failures, report.requests, report.errors[0]);
    }
    Ok(())
}
