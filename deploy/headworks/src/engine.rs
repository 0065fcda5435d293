//! `headworks engine`: an inference replica.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use engine_server::Config;
use telemetry::{Protocol, Telemetry};

use crate::ready::Ready;
use crate::stop::{StopOn, stop};

/// Longest wait for traces to be sent before exit.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A Llama-family checkpoint in Hugging Face layout
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The model's name in requests [default: the folder's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// KV blocks in all; they bound the context too
    #[arg(long, value_name = "N", default_value_t = 1024)]
    kv_blocks: u32,
    /// Tokens one KV block holds
    #[arg(long, value_name = "N", default_value_t = 16)]
    block_size: u32,
    /// Most requests in the running batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    max_num_seqs: u32,
    /// Most tokens one step computes, over all requests
    #[arg(long, value_name = "N", default_value_t = 512)]
    max_num_batched_tokens: u32,
    /// Most requests that wait for the batch; more are answered 503
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_waiting: u32,
    /// Largest request body in bytes; a larger one is answered 413
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20)]
    max_body_bytes: usize,
    /// Send traces to this OTLP collector, e.g. http://127.0.0.1:4318
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// How to speak to the collector
    #[arg(long, value_enum, default_value_t = OtlpProtocol::Http)]
    otlp_protocol: OtlpProtocol,
    /// Share of new traces to record; a client's sampled parent overrides it
    #[arg(long, value_name = "0..1", default_value_t = 1.0, value_parser = ratio)]
    trace_ratio: f64,
    /// This replica's name in traces
    #[arg(long, value_name = "NAME")]
    replica: Option<String>,
    /// End when stdin does, for a parent that must not leave the engine behind
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

/// The OTLP wire, as flags name it.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum OtlpProtocol {
    Http,
    Grpc,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    ensure!(
        args.model.is_dir(),
        "there is no model folder at {}; give a checkpoint in Hugging Face layout (`headworks model synth` makes one)",
        args.model.display()
    );
    crate::runtime()?.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let telemetry = Arc::new(match args.telemetry() {
        Some(settings) => Telemetry::start(&settings)?,
        None => Telemetry::off(),
    });
    let on = StopOn::of(args.until_stdin_ends);
    let ready = |bound: SocketAddr| Ready { listen: bound.to_string(), admin: None }.print();
    let served = engine_server::serve(args.config(), telemetry.clone(), ready, stop(on)).await;
    tokio::task::spawn_blocking(move || telemetry.shutdown(FLUSH_TIME_MAX)).await.context("flush traces")?;
    Ok(served?)
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("give a number from 0 to 1".to_owned()),
    }
}

impl Args {
    fn config(self) -> Config {
        Config {
            served_name: self.name,
            kv_blocks: self.kv_blocks,
            block_tokens: self.block_size,
            step_tokens_max: self.max_num_batched_tokens,
            running_max: self.max_num_seqs,
            waiting_max: self.max_waiting,
            body_bytes_max: self.max_body_bytes,
            ..Config::new(self.model, self.listen)
        }
    }

    fn telemetry(&self) -> Option<telemetry::Config> {
        let endpoint = self.otlp_endpoint.clone()?;
        let attribute = |key: &str, value: &String| (key.to_owned(), value.clone());
        Some(telemetry::Config {
            endpoint,
            protocol: match self.otlp_protocol {
                OtlpProtocol::Http => Protocol::Http,
                OtlpProtocol::Grpc => Protocol::Grpc,
            },
            sample_ratio: self.trace_ratio,
            service: "headworks-engine".to_owned(),
            attributes: self.replica.iter().map(|name| attribute("service.instance.id", name)).collect(),
            queue_spans_max: telemetry::QUEUE_SPANS_MAX,
        })
    }
}

impl OtlpProtocol {
    /// What a flag or a configuration file calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            OtlpProtocol::Http => "http",
            OtlpProtocol::Grpc => "grpc",
        }
    }
}
