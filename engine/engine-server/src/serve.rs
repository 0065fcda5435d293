//! Starts the engine, keeps it running, and stops it in order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_backend::Backend;
use engine_cpu::CpuBackend;
use engine_kv::{BlockPool, PoolConfig};
use engine_scheduler::{PrefixCaching, Scheduler, SchedulerConfig};
use telemetry::Telemetry;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::connections::{Connections, HeadBounds};
use crate::driver::{Driver, Job, View};
use crate::load::{Loaded, load};
use crate::metrics::Metrics;
use crate::server::{ModelFacts, Server, body_bounds};
use crate::tasks::{self, Ending};
use crate::{Config, Error, clock, http};

/// Connections the operating system keeps for us until we take them.
const BACKLOG: u32 = 1024;

/// Loads the checkpoint, listens, calls `ready` with the address, and serves until `shutdown`; then lets
/// what runs finish, for at most [`Config::drain_wait_max`], and meanwhile says at `/health` and `/state` that it drains
/// and refuses requests.
///
/// Connections are refused, not kept waiting, while the checkpoint loads; the address is taken before that, so that a
/// port already in use is told at once.
pub async fn serve(
    config: Config,
    telemetry: Arc<Telemetry>,
    ready: impl FnOnce(SocketAddr) + Send,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    serve_on(CpuBackend::fast(), config, telemetry, ready, shutdown).await
}

/// The same on any backend.
async fn serve_on<B: Backend + 'static>(
    backend: B,
    config: Config,
    telemetry: Arc<Telemetry>,
    ready: impl FnOnce(SocketAddr) + Send,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    config.check()?;
    let listen_error = |source| Error::Listen { address: config.listen, source };
    let socket = bind(config.listen).map_err(listen_error)?;
    let loading = config.clone();
    let loaded = tokio::task::spawn_blocking(move || load(&loading, backend)).await;
    let loaded = loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    let (server, mut driver) = start(&config, loaded, &telemetry)?;
    let listener = socket.listen(BACKLOG).map_err(listen_error)?;
    ready(listener.local_addr().map_err(listen_error)?);
    let ended = run(&config, server, listener, &mut driver, shutdown).await;
    match ended {
        // Every handle of the inbox is gone now, so the driver ends.
        Ok(()) => driver.wait().await,
        error => error,
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Starts the driver, and makes what the handlers share.
fn start<B: Backend + 'static>(
    config: &Config,
    loaded: Loaded<B>,
    telemetry: &Telemetry,
) -> Result<(Arc<Server>, Ending), Error> {
    let Loaded { model, vocabulary, template, end_tokens } = loaded;
    let facts = facts(config, &model);
    tracing::info!(
        model = facts.name,
        backend = model.backend_name(),
        context_tokens_max = facts.context_tokens_max,
        "loaded"
    );
    let metrics = Arc::new(Metrics::new(config, facts.context_tokens_max));
    let scheduler = scheduler(config);
    let (inbox, inbox_receiver) = mpsc::channel::<Job>(config.inbox_max as usize);
    let (view, view_receiver) = watch::channel(View { stats: scheduler.stats(), ..View::default() });
    let driver = Driver { scheduler, model, end_tokens, inbox: inbox_receiver, view, metrics: metrics.clone() };
    let ending = tasks::thread("engine-driver", move || driver.run())?;
    let server = Server {
        facts,
        vocabulary: Arc::new(vocabulary),
        template,
        inbox,
        view: view_receiver,
        metrics,
        tracer: telemetry.tracer(),
        spans_dropped: Box::new(telemetry.dropped_total()),
        body_bounds: body_bounds(config),
        requests: Arc::new(Semaphore::new(config.requests_max)),
        requests_max: config.requests_max,
        requests_open: watch::Sender::new(()),
        tokenize: Arc::new(Semaphore::new(config.tokenize_max)),
        tokenize_max: config.tokenize_max,
        connections: Arc::new(Semaphore::new(config.connections_max)),
        connections_max: config.connections_max,
        started: clock::now(),
        draining: AtomicBool::new(false),
    };
    Ok((Arc::new(server), ending))
}

fn facts<B: Backend>(config: &Config, model: &engine_model::Model<B>) -> ModelFacts {
    let in_blocks = config.kv_blocks.saturating_mul(config.block_tokens);
    ModelFacts {
        name: config.served_name(),
        context_tokens_max: model.config().context_tokens_max.min(in_blocks),
        vocabulary_size: u32::try_from(model.config().vocab).unwrap_or(u32::MAX),
    }
}

fn scheduler(config: &Config) -> Scheduler {
    let pool = PoolConfig { blocks: config.kv_blocks, block_tokens: config.block_tokens, ..PoolConfig::default() };
    let bounds = SchedulerConfig {
        step_tokens_max: config.step_tokens_max,
        running_max: config.running_max,
        waiting_max: config.waiting_max,
        prefix_caching: PrefixCaching::On,
    };
    Scheduler::new(bounds, BlockPool::new(pool))
}

/// Serves until asked to stop, or until the driver ends.
async fn run(
    config: &Config,
    server: Arc<Server>,
    listener: TcpListener,
    driver: &mut Ending,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let permits = server.connections.clone();
    let head_bounds = HeadBounds {
        bytes_max: config.head_bytes_max,
        headers_max: config.headers_max,
        wait_max: config.head_wait_max,
    };
    let mut connections = Connections::new(http::routes(server.clone()), permits, head_bounds);
    let stop = async {
        tokio::select! {
            () = shutdown => None,
            ended = driver.wait() => Some(ended),
        }
    };
    let driver_ended = connections.take(&listener, stop).await;
    let stopped = clock::now();
    server.draining.store(true, Ordering::Relaxed);
    // Whoever asks while requests finish is told that we drain; a closed port would look like a crash. What is still
    // in flight when the time is over is cut off below.
    let finished = connections.take(&listener, server.requests_open.closed());
    let _ = tokio::time::timeout(config.drain_wait_max, finished).await;
    drop(listener);
    let cut_off = connections.finish(config.drain_wait_max.saturating_sub(clock::now() - stopped)).await;
    if cut_off > 0 {
        tracing::warn!(connections = cut_off, "cut off at shutdown");
    }
    match driver_ended {
        None => Ok(()),
        Some(Ok(())) => Err(Error::DriverPanicked),
        Some(error) => error,
    }
}
