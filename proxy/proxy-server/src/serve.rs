//! Starts the proxy, serves both ports, and stops it in order.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use telemetry::Telemetry;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::admin::Admin;
use crate::base_url::{BaseUrl, Scheme};
use crate::clock::Clock;
use crate::config::Config;
use crate::data::Data;
use crate::fleet::{Fleet, Source, judge, keep, poll_peer};
use crate::hold::ask_held;
use crate::listen::{Bounds, Counts, Port};
use crate::metrics::Metrics;
use crate::observe::{Observer, observe};
use crate::policies::{Folder, Folders, Policies, Sources, watch, watch_folder};
use crate::proxy::{Parts, Proxy};
use crate::readiness::has_looked;
use crate::recorder::{self, Recorder};
use crate::reload::{reload_on_hangup, watch_config};
use crate::sockets::{Given, Sockets};
use crate::tasks::Tasks;
use crate::tenants::{self, Register};
use crate::tls::{PortName, PortTls, keep_certificates};
use crate::upstream::Link;
use crate::workers::Workers;

/// How long background tasks get to end once the connections have.
const TASKS_END_MAX: Duration = Duration::from_secs(1);

/// How often a proxy that is about to serve looks whether it knows its replicas.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Where the proxy listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The data port.
    pub data: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}

/// Why the proxy could not start.
#[derive(Debug, Error)]
pub enum Error {
    /// A port could not be had.
    #[error("cannot listen on {address} ({port} port): {source}")]
    Listen {
        /// `data` or `admin`.
        port: &'static str,
        /// The address wanted.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The threads of the data port could not be started.
    #[error("cannot start {threads} threads for the data port (`limits.data_threads`): {source}")]
    Threads {
        /// How many were wanted.
        threads: usize,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// A configured policy cannot be used.
    #[error("policy: {0}")]
    Policy(String),
    /// The tenants, or what their tokens are signed with, cannot be read.
    #[error("{0}")]
    Tenants(String),
}

/// Reads what a configuration names, as a start would: the certificate and the policies. Blocking.
pub fn check(config: &Config) -> Result<(), Error> {
    PORTS.iter().try_for_each(|port| port_tls(config, *port).map(drop))?;
    let (clock, metrics) = (Clock::start(), Metrics::new());
    // What was put into slots is not brought back here: that changes the folder.
    let folders = Folders { cache: config.policy_cache_folder.as_deref(), state: None };
    let sources = sources(config);
    let (limits, recorder) = (&config.limits, Arc::new(Recorder::new(1)));
    let loaded =
        Policies::start(&config.policies, &sources, limits, folders, clock, &metrics, recorder, rand::random());
    loaded.map_err(|error| Error::Policy(error.to_string()))?;
    Register::open(config.tenancy.clone()).map_err(Error::Tenants)?;
    watched(config.watch.as_deref()).map(drop)
}

/// Both ports.
const PORTS: [PortName; 2] = [PortName::Data, PortName::Admin];

/// The certificate of a port, where it has one.
fn port_tls(config: &Config, port: PortName) -> Result<Option<Arc<PortTls>>, Error> {
    let loaded = config.tls.as_ref().map(|files| PortTls::load(files, port)).transpose();
    loaded.map(|tls| tls.map(Arc::new)).map_err(|error| Error::Tls(error.to_string()))
}

/// The folder of policies that is watched, if one is.
fn watched(path: Option<&Path>) -> Result<Option<Folder>, Error> {
    let Some(path) = path else { return Ok(None) };
    let wrong = |error| Error::Policy(format!("cannot watch {} (`policies.watch`): {error}", path.display()));
    Folder::watch(path).map(Some).map_err(wrong)
}

/// Runs a proxy until `shutdown` ends, then lets requests in flight finish within `limits.drain_ms_max`. `ready` is
/// told where it listens, once it does.
pub async fn serve(
    config: Config,
    telemetry: Arc<Telemetry>,
    ready: impl FnOnce(Bound) + Send,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let sockets = Sockets::open(&config, Given::default()).await?;
    serve_on(sockets, config, telemetry, ready, shutdown).await
}

/// The same on sockets that are open already. Where they were given, somebody may wait at them who must not be told that
/// nobody takes work: each replica is looked at before anybody is served.
pub async fn serve_on(
    sockets: Sockets,
    config: Config,
    telemetry: Arc<Telemetry>,
    ready: impl FnOnce(Bound) + Send,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let [data_tls, admin_tls] = [port_tls(&config, PortName::Data)?, port_tls(&config, PortName::Admin)?];
    let port_tls = [&data_tls, &admin_tls].into_iter().flatten().cloned().collect();
    let unusable = |port, address| move |source| Error::Listen { port, address, source };
    let bound = sockets.bound().map_err(unusable("data", config.data_listen))?;
    let Sockets { data, admin, are_given } = sockets;
    let data = TcpListener::from_std(data).map_err(unusable("data", bound.data))?;
    let admin = TcpListener::from_std(admin).map_err(unusable("admin", bound.admin))?;
    let limits = config.limits.clone();
    let drain_max = Duration::from_millis(limits.drain_ms_max);
    let tasks = Arc::new(Tasks::new());
    let proxy = start(config, port_tls, &telemetry, bound, &tasks).await?;

    if are_given {
        until_looked(&proxy).await;
    }
    let threads = limits.data_threads();
    let workers = Workers::start(threads).map_err(|source| Error::Threads { threads, source })?;
    let port = |name, listener, tls, room: &Arc<Semaphore>, workers| Port {
        name,
        listener,
        tls,
        counts: Counts {
            handshakes_refused: proxy.metrics.handshakes_refused.clone(),
            slow_heads: proxy.metrics.slow_heads.clone(),
        },
        room: room.clone(),
        bounds: Bounds::of(&limits),
        workers,
    };
    let data = port(PortName::Data, data, data_tls, &proxy.connections, Some(Arc::new(workers)));
    let admin = port(PortName::Admin, admin, admin_tls, &proxy.admin_connections, None);
    let ports = futures_util::future::join(
        data.serve(Data(proxy.clone()), tasks.stopping(), drain_max),
        admin.serve(Admin::new(proxy.clone()), tasks.stopping(), drain_max),
    );
    ready(bound);
    let stop = async {
        shutdown.await;
        tracing::info!("stopping: no new connections, requests in flight may finish");
        tasks.begin_stop();
    };
    futures_util::future::join(ports, stop).await;
    // After the last request, so that the recording has it; the writer ends with it.
    proxy.recorder.close().await;
    let tenants = proxy.tenants.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || tenants.write_used()).await {
        tracing::error!(%error, "writing what tenants have used broke");
    }
    tasks.end(TASKS_END_MAX).await;
    Ok(())
}

/// Waits until each replica was looked at, in all no longer than one look may take.
async fn until_looked(proxy: &Proxy) {
    let looks = async {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        while !has_looked(proxy) {
            ticks.tick().await;
        }
    };
    // Who has not answered by then is ill, or soon found to be.
    let _ = tokio::time::timeout(Duration::from_millis(proxy.limits.poll_ms_max), looks).await;
}

async fn start(
    config: Config,
    port_tls: Vec<Arc<PortTls>>,
    telemetry: &Telemetry,
    bound: Bound,
    tasks: &Arc<Tasks>,
) -> Result<Arc<Proxy>, Error> {
    let scheme = if port_tls.is_empty() { Scheme::Http } else { Scheme::Https };
    let clock = Clock::start();
    let metrics = Metrics::new();
    let fleet = Fleet::new(&config);
    let folder = watched(config.watch.as_deref())?;
    let sources = Arc::new(sources(&config));
    let whole = config.clone();
    let Config {
        region,
        data_url,
        admin_tokens,
        policies,
        policy_headers,
        policy_cache_folder,
        state_folder,
        tenancy,
        resume,
        limits,
        recording,
        ..
    } = config;
    let recorder = Arc::new(Recorder::new(limits.recording_queue_max));
    let (from, to) = (sources.clone(), recorder.clone());
    let (policies, tenants, metrics, limits) = tokio::task::spawn_blocking(move || {
        let tenants = Register::open(tenancy);
        let folders = Folders { cache: policy_cache_folder.as_deref(), state: state_folder.as_deref() };
        let policies = Policies::start(&policies, &from, &limits, folders, clock, &metrics, to, rand::random());
        (policies, tenants, metrics, limits)
    })
    .await
    .map_err(|error| Error::Policy(error.to_string()))?;
    let policies = Arc::new(policies.map_err(|error| Error::Policy(error.to_string()))?);
    let tenants = Arc::new(tenants.map_err(Error::Tenants)?);
    let (observer, events) = Observer::new(limits.events_max, metrics.events_dropped.clone());
    let parts = Parts {
        region,
        data_url: data_url.unwrap_or_else(|| BaseUrl::of(scheme, bound.data)),
        admin_tokens,
        policy_headers,
        tenants,
        resume,
        limits,
        clock,
        fleet,
        policies,
        sources,
        port_tls,
        observer,
        recorder: recorder.clone(),
        recording,
        metrics,
        config: whole.clone(),
        tasks: tasks.clone(),
    };
    let proxy = Arc::new(Proxy::new(parts, telemetry));
    tasks.spawn("judge", judge(proxy.clone()));
    tasks.spawn("ask held", ask_held(proxy.clone()));
    proxy.sync_replicas(&Source::Config, &whole.replicas);
    proxy.discoveries.set(&proxy, &whole.discoveries);
    tasks.spawn("keep", keep(proxy.clone()));
    tasks.spawn("keep certificates", keep_certificates(proxy.clone()));
    if let (Some(path), Some(text)) = (whole.file(), whole.text()) {
        tasks.spawn("reload on SIGHUP", reload_on_hangup(proxy.clone()));
        tasks.spawn("watch the configuration", watch_config(proxy.clone(), path.to_owned(), text.to_owned()));
    }
    for peer in &proxy.fleet.peers {
        tasks.spawn(format!("poll region {}", peer.name), poll_peer(proxy.clone(), peer.clone()));
    }
    tasks.spawn("keep tenants", tenants::keep(proxy.tenants.clone(), clock));
    tasks.spawn("observe", observe(proxy.clone(), events));
    tasks.spawn_to_end("recorder", recorder::write(recorder));
    tasks.spawn("watch policies", watch(proxy.policies.clone()));
    if let Some(folder) = folder {
        tasks
            .spawn("watch the folder of policies", watch_folder(proxy.policies.clone(), proxy.sources.clone(), folder));
    }
    tasks.spawn("traffic", tick(proxy.clone()));
    Ok(proxy)
}

fn sources(config: &Config) -> Sources {
    Sources {
        oci: config.oci.clone(),
        signing: config.signing.clone(),
        component_bytes_max: config.limits.component_bytes_max,
    }
}

/// Closes each second's books, and connections that were idle too long.
async fn tick(proxy: Arc<Proxy>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        proxy.traffic.tick(&proxy.clock, proxy.in_flight_now());
        proxy.fleet.replicas().iter().for_each(|replica| replica.link.sweep());
        proxy.fleet.peers.iter().flat_map(|peer| [&peer.data, &peer.admin]).for_each(Link::sweep);
    }
}
