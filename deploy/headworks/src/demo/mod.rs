//! `headworks demo`: two regions on this machine, a sample workload through them, and how it went.
//!
//! Every part is the real thing in a process of its own: for each region a proxy and its engines, over loopback.

mod children;
mod plan;
mod summary;
pub(crate) mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bench_load::{Report, Scenario};

use self::children::{Child, Children};
use self::plan::{Plan, RegionPlan};
use self::summary::Summary;
use crate::engine::OtlpProtocol;
use crate::stop::{StopOn, stop};

const SCENARIO: &str = include_str!("../../../../benches/scenarios/demo.toml");

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Stop after the sample workload; print a JSON summary on stdout; fail if any request failed
    #[arg(long)]
    once: bool,
    /// The first port: region N listens on PORT+10N (data), +1 (admin), +2 and +3 (engines). 0 takes free ports
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// A checkpoint in Hugging Face layout to serve instead of the embedded tiny model
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The folder of the shipped policies' components (`cargo xtask policies` makes it)
    #[arg(long, value_name = "DIR", default_value = "policies-wasm/dist")]
    policies: PathBuf,
    /// The policy that places requests at the start
    #[arg(long, value_name = "NAME", default_value = "least-load")]
    policy: String,
    /// The traffic, a TOML file like benches/scenarios/demo.toml
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Send traces to this OTLP collector, e.g. http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// How to speak to the collector
    #[arg(long, value_enum, default_value_t = OtlpProtocol::Http)]
    otlp_protocol: OtlpProtocol,
    /// Keep models, configurations and logs here instead of in a temporary folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Longest wait for a request of ours to an admin port.
const ADMIN_TIME_MAX: Duration = Duration::from_secs(5);

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let scenario = match &args.scenario {
        Some(file) => Scenario::load(file)?,
        None => Scenario::parse(SCENARIO, "the embedded demo scenario")?,
    };
    let temporary = tempfile::Builder::new().prefix("headworks-demo-").tempdir().context("make a working folder")?;
    let dir = args.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let component = component(&args)?;
    let plan = Plan::of(&scenario.fleet, args.port)?;
    crate::runtime()?.block_on(play(&args, &scenario, &plan, &Place { dir, component }))
}

/// Where the demo keeps its files, and the component it starts with.
struct Place {
    dir: PathBuf,
    component: PathBuf,
}

fn component(args: &Args) -> anyhow::Result<PathBuf> {
    let file = args.policies.join(format!("{}.wasm", args.policy));
    ensure!(file.is_file(), "there is no policy component at {}; `cargo xtask policies` builds them", file.display());
    file.canonicalize().with_context(|| format!("resolve {}", file.display()))
}

async fn play(args: &Args, scenario: &Scenario, plan: &Plan, place: &Place) -> anyhow::Result<()> {
    let model_dir = model(args, place)?;
    let mut children = Children::new(place.dir.join("logs"))?;
    let played = tokio::select! {
        played = start_and_drive(args, scenario, plan, place, &model_dir, &mut children) => Some(played),
        () = stop(StopOn::Signals) => None,
    };
    let Some(played) = played else {
        children.stop().await;
        bail!("interrupted before the workload ended");
    };
    let (summary, report) = match played {
        Ok(played) => played,
        Err(error) => {
            children.stop().await;
            return Err(error);
        }
    };
    if args.once {
        eprint!("{}", table::report(&report));
        println!("{}", serde_json::to_string_pretty(&summary)?);
        children.stop().await;
    } else {
        print!("{}{}", table::report(&report), summary.urls());
        println!("\nUp until Ctrl-C.");
        let ended = tokio::select! {
            () = stop(StopOn::Signals) => None,
            fallen = children.first_to_fall() => Some(fallen),
        };
        children.stop().await;
        if let Some(fallen) = ended {
            return Err(fallen);
        }
    }
    ensure!(
        report.failures == 0,
        "{} of {} requests failed; the first: {}",
        report.failures,
        report.requests,
        report.errors[0]
    );
    Ok(())
}

fn model(args: &Args, place: &Place) -> anyhow::Result<PathBuf> {
    if let Some(dir) = &args.model {
        return dir.canonicalize().with_context(|| format!("find the model {}", dir.display()));
    }
    let dir = place.dir.join("tiny");
    eprintln!("making the tiny model");
    crate::model::synth_tiny(&dir)?;
    Ok(dir)
}

async fn start_and_drive(
    args: &Args,
    scenario: &Scenario,
    plan: &Plan,
    place: &Place,
    model_dir: &std::path::Path,
    children: &mut Children,
) -> anyhow::Result<(Summary, Report)> {
    for region in &plan.regions {
        start_region(args, plan, region, place, model_dir, children).await?;
    }
    for region in &plan.regions {
        summary::wait_until_ready(region, children).await?;
    }
    let model = plan::MODEL_NAME;
    eprintln!("sending {} requests over {} clients", scenario.traffic.requests, scenario.traffic.concurrency);
    let targets = plan.targets();
    let report = tokio::select! {
        report = bench_load::drive(scenario, &targets, model, table::show_progress) => report,
        fallen = children.first_to_fall() => return Err(fallen),
    };
    let summary = Summary::read(plan, &report).await?;
    Ok((summary, report))
}

async fn start_region(
    args: &Args,
    plan: &Plan,
    region: &RegionPlan,
    place: &Place,
    model_dir: &std::path::Path,
    children: &mut Children,
) -> anyhow::Result<()> {
    let otlp = args.otlp_endpoint.as_deref().map(|endpoint| (endpoint, args.otlp_protocol.name()));
    for replica in &region.replicas {
        let mut child = Child::engine(replica, model_dir);
        if let Some((endpoint, protocol)) = otlp {
            child.flag("--otlp-endpoint", endpoint).flag("--otlp-protocol", protocol);
        }
        children.start(child).await?;
    }
    let config = place.dir.join(format!("proxy-{}.toml", region.name));
    std::fs::write(&config, plan.proxy_config(region, &place.component, otlp))
        .with_context(|| format!("write {}", config.display()))?;
    children.start(Child::proxy(&region.name, &config)).await?;
    eprintln!("region {} is up: a proxy and {} engines", region.name, region.replicas.len());
    Ok(())
}

/// A small GET to an admin port of ours.
async fn get(url: &str) -> anyhow::Result<String> {
    let got = tokio::time::timeout(ADMIN_TIME_MAX, bench_load::get(url)).await;
    got.with_context(|| format!("{url} did not answer within {ADMIN_TIME_MAX:?}"))?.map_err(anyhow::Error::msg)
}
