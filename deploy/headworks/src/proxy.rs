//! `headworks proxy`: the gateway.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use proxy_server::{Config, Ending, Given, Reloading, Sockets, Told};
use telemetry::Telemetry;

use crate::handover::Handover;
use crate::inherited::{self, Predecessor};
use crate::notify::Notify;
use crate::ready::Ready;
use crate::stop::{StopOn, stop};

/// Longest wait for traces to be sent before exit.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration, a TOML file (docs/proxy.md)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Read the configuration and what it names, say whether it is sound, and exit
    #[arg(long)]
    check: bool,
    /// End when stdin does, for a parent that must not leave the proxy behind
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    if args.check {
        proxy_server::check(&config).with_context(|| format!("check {}", args.config.display()))?;
        println!("{} is sound", args.config.display());
        return Ok(());
    }
    let (given, predecessor) = inherited::take()?;
    crate::runtime()?.block_on(serve(config, given, predecessor, StopOn::of(args.until_stdin_ends)))
}

async fn serve(config: Config, given: Given, predecessor: Option<Predecessor>, on: StopOn) -> anyhow::Result<()> {
    let telemetry = Arc::new(match config.telemetry() {
        Some(settings) => Telemetry::start(settings)?,
        None => Telemetry::off(),
    });
    let notify = Arc::new(Notify::of_environment());
    let sockets = Sockets::open(&config, given).await?;
    let handover = Handover::of(&sockets)?;
    let ready = |bound: proxy_server::Bound| {
        Ready { listen: bound.data.to_string(), admin: Some(bound.admin.to_string()) }.print();
        notify.ready();
        if let Some(Err(error)) = predecessor.map(Predecessor::tell_ready) {
            tracing::warn!(%error, "the predecessor is gone before it heard that this process is ready");
        }
    };
    let reloads = notify.clone();
    let reload = Box::new(move |step| match step {
        Reloading::Begun => reloads.reloading(),
        Reloading::Over => reloads.ready(),
    });
    let stop = stop(on);
    let ended = async {
        tokio::select! {
            () = stop => {
                notify.stopping();
                Ending::Stopped
            }
            process = handover.done() => {
                notify.main_process(process);
                Ending::HandedOver
            }
        }
    };
    let serving = proxy_server::serve_on(sockets, config, telemetry.clone(), Told { ready, reload }, ended);
    let served = tokio::select! {
        served = serving => served,
        () = notify.live() => Ok(()),
    };
    tokio::task::spawn_blocking(move || telemetry.shutdown(FLUSH_TIME_MAX)).await.context("flush traces")?;
    Ok(served?)
}
