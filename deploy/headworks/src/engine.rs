//! `headworks engine`: an inference replica.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use engine_model::Gguf;
use engine_server::{Config, Registration, Token};
use futures_util::FutureExt;
use telemetry::{Protocol, Telemetry};
use tokio::sync::oneshot;

use crate::ready::Ready;
use crate::stop::{StopOn, stop};

/// Longest wait for traces to be sent before exit.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A checkpoint: a directory in Hugging Face layout, or a GGUF file
    #[arg(long, value_name = "PATH")]
    model: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The model's name in requests [default: the folder's name, or the file's]
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
    /// Register with this proxy (its admin port), and stay in its fleet for as long as this engine lives
    #[arg(long, value_name = "URL")]
    register: Option<String>,
    /// The environment variable that holds the proxy's token for it
    #[arg(long, value_name = "NAME", requires = "register")]
    register_token_env: Option<String>,
    /// How long the proxy keeps this engine when it hears nothing of it
    #[arg(long, value_name = "MS", default_value_t = 10_000, requires = "register",
        value_parser = clap::value_parser!(u64).range(500..=86_400_000))]
    register_lease_ms: u64,
    /// Where the proxy reaches this engine [default: where it listens]
    #[arg(long, value_name = "URL", requires = "register")]
    advertise: Option<String>,
    /// This replica's name in traces, and where it registers [default there: its address]
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
        args.model.is_dir() || args.model.is_file() && Gguf::is_named_so(&args.model),
        "there is no model at {}; give a directory in Hugging Face layout (`headworks model synth` makes one) or a .gguf file",
        args.model.display()
    );
    crate::runtime()?.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let telemetry = Arc::new(match args.telemetry() {
        Some(settings) => Telemetry::start(&settings)?,
        None => Telemetry::off(),
    });
    let stop = stop(StopOn::of(args.until_stdin_ends)).shared();
    let registrar = args.registrar()?;
    let (bound_sender, bound) = oneshot::channel();
    let ready = |bound: SocketAddr| {
        Ready { listen: bound.to_string(), admin: None }.print();
        // Nobody waits for it where the engine does not register.
        let _ = bound_sender.send(bound);
    };
    let (serves, served_last) = oneshot::channel::<()>();
    let asked = stop.clone();
    let ended = async {
        tokio::select! {
            () = asked => {}
            // Dropped with the server, which may end of itself.
            _ = served_last => {}
        }
    };
    let registered = async {
        match (registrar, bound.await) {
            (Some(registrar), Ok(bound)) => registrar.at(bound).keep(ended).await.map_err(anyhow::Error::msg),
            _ => Ok(()),
        }
    };
    let serving = async {
        let served = engine_server::serve(args.config(), telemetry.clone(), ready, stop).await;
        drop(serves);
        served
    };
    let (served, registered) = futures_util::future::join(serving, registered).await;
    registered.context("register")?;
    tokio::task::spawn_blocking(move || telemetry.shutdown(FLUSH_TIME_MAX)).await.context("flush traces")?;
    Ok(served?)
}

/// What registers the engine once it is known where it listens.
struct Registrar {
    proxy: String,
    token: Option<Token>,
    lease: Duration,
    advertise: Option<String>,
    name: Option<String>,
}

impl Registrar {
    fn at(self, bound: SocketAddr) -> Registration {
        let Registrar { proxy, token, lease, advertise, name } = self;
        let url = advertise.unwrap_or_else(|| format!("http://{bound}"));
        Registration { proxy, token, name: name.unwrap_or_else(|| bound.to_string()), url, lease }
    }
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

    fn registrar(&self) -> anyhow::Result<Option<Registrar>> {
        let Some(proxy) = self.register.clone() else { return Ok(None) };
        ensure!(
            self.advertise.is_some() || !self.listen.ip().is_unspecified(),
            "--listen {} is no address that a proxy could reach; say which with --advertise http://host:port",
            self.listen
        );
        ensure!(proxy.starts_with("http://"), "--register {proxy} must be the proxy's admin port, as http://host:port");
        let token = |name: &String| {
            let token = std::env::var(name).with_context(|| format!("read the token from the variable {name}"))?;
            Token::new(&token).map_err(|wrong| anyhow::anyhow!("the token in {name} {wrong}"))
        };
        Ok(Some(Registrar {
            proxy,
            token: self.register_token_env.as_ref().map(token).transpose()?,
            lease: Duration::from_millis(self.register_lease_ms),
            advertise: self.advertise.clone(),
            name: self.replica.clone(),
        }))
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
