//! What both ports share: the fleet, the policies, the pool, the bounds, and the books.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch::{Attempts, Failure, Hedges, Next, ResumeMode, RetryBudget};
use http::HeaderName;
use policy_api::Event;
use telemetry::{Telemetry, Tracer};
use tokio::sync::Semaphore;

use crate::base_url::BaseUrl;
use crate::clock::Clock;
use crate::config::{AdminToken, Config, Limits, RegionNames, Secret};
use crate::decisions::Decisions;
use crate::discovery::Discoveries;
use crate::fleet::{Fleet, Looking, Replica};
use crate::hold::Hold;
use crate::live::LiveLimits;
use crate::metrics::Metrics;
use crate::observe::Observer;
use crate::policies::{Policies, Sources};
use crate::recorder::{Recorder, Recording};
use crate::reload::Reloads;
use crate::tasks::{Stopping, Tasks};
use crate::tenants::Register;
use crate::tls::PortTls;
use crate::traffic::Traffic;

/// Components that are pulled at one time; further ones wait.
const PULLS_MAX: usize = 4;

/// One proxy.
pub(crate) struct Proxy {
    pub region: String,
    pub data_url: BaseUrl,
    pub admin_tokens: Vec<AdminToken>,
    pub policy_headers: Vec<HeaderName>,
    /// Opens the registration of replicas and nothing else.
    pub register_token: Option<Secret>,
    pub tenants: Arc<Register>,
    /// Which streams go on at another replica.
    pub resume: ResumeMode,
    pub limits: LiveLimits,
    pub clock: Clock,
    pub fleet: Fleet,
    /// What regions are called, here and by replicas that join.
    pub region_names: RegionNames,
    pub discoveries: Discoveries,
    pub reloads: Reloads,
    pub tasks: Arc<Tasks>,
    pub policies: Arc<Policies>,
    pub sources: Arc<Sources>,
    /// The certificates of our ports.
    pub port_tls: Vec<Arc<PortTls>>,
    pub observer: Observer,
    pub recorder: Arc<Recorder>,
    /// Where recordings go, if anywhere.
    pub recording: Option<Recording>,
    pub decisions: Decisions,
    pub traffic: Traffic,
    pub metrics: Metrics,
    pub tracer: Tracer,
    pub spans: Spans,
    pub stopping: Stopping,
    /// Room for connections on the data port.
    pub connections: Arc<Semaphore>,
    /// Room for connections on the admin port.
    pub admin_connections: Arc<Semaphore>,
    /// Room for requests in flight.
    pub in_flight: Arc<Semaphore>,
    /// The requests that policies hold.
    pub hold: Hold,
    pub admin_streams: Arc<Semaphore>,
    /// Room for components that are being pulled.
    pub pulls: Arc<Semaphore>,
    retry_budget: Mutex<RetryBudget>,
    /// Requests that the budget does not know of yet: most need no lock.
    requests: AtomicU64,
    hedges: Mutex<Hedges>,
    held: AtomicU32,
    next_id: AtomicU64,
}

/// What a proxy is made of.
pub(crate) struct Parts {
    pub region: String,
    pub data_url: BaseUrl,
    pub admin_tokens: Vec<AdminToken>,
    pub policy_headers: Vec<HeaderName>,
    pub tenants: Arc<Register>,
    pub resume: ResumeMode,
    pub limits: Limits,
    pub clock: Clock,
    pub fleet: Fleet,
    pub policies: Arc<Policies>,
    pub sources: Arc<Sources>,
    pub port_tls: Vec<Arc<PortTls>>,
    pub observer: Observer,
    pub recorder: Arc<Recorder>,
    pub recording: Option<Recording>,
    pub metrics: Metrics,
    /// The whole configuration, for what a reload compares.
    pub config: Config,
    pub tasks: Arc<Tasks>,
}

type Count = Box<dyn Fn() -> u64 + Send + Sync>;

/// What became of the spans.
pub(crate) struct Spans {
    pub dropped_total: Count,
    pub exported_total: Count,
}

impl Proxy {
    pub fn new(parts: Parts, telemetry: &Telemetry) -> Proxy {
        let Parts {
            region,
            data_url,
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
            recorder,
            recording,
            metrics,
            config,
            tasks,
        } = parts;
        Proxy {
            region,
            data_url,
            admin_tokens,
            policy_headers,
            register_token: config.register_token.clone(),
            tenants,
            region_names: RegionNames::of(&config.region, &config.regions, config.transports.clone()),
            discoveries: Discoveries::default(),
            reloads: Reloads::new(config),
            resume,
            fleet,
            policies,
            sources,
            port_tls,
            observer,
            recorder,
            recording,
            decisions: Decisions::new(limits.decisions_max),
            traffic: Traffic::new(limits.traffic_seconds_max),
            metrics,
            tracer: telemetry.tracer(),
            spans: Spans {
                dropped_total: Box::new(telemetry.dropped_total()),
                exported_total: Box::new(telemetry.exported_total()),
            },
            stopping: tasks.stopping(),
            tasks,
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            admin_connections: Arc::new(Semaphore::new(limits.admin_connections_max)),
            in_flight: Arc::new(Semaphore::new(limits.in_flight_max)),
            hold: Hold::new(clock, limits.queue_max),
            admin_streams: Arc::new(Semaphore::new(limits.admin_streams_max)),
            pulls: Arc::new(Semaphore::new(PULLS_MAX)),
            requests: AtomicU64::new(0),
            hedges: Mutex::new(Hedges::new(limits.hedges())),
            retry_budget: Mutex::new(RetryBudget::new(limits.retries(), clock.now_ms())),
            held: AtomicU32::new(0),
            // Ids of two runs differ, so that a kept decision is not taken for another's.
            next_id: AtomicU64::new(first_id(clock)),
            clock,
            limits: LiveLimits::new(limits),
        }
    }

    /// Names a request, uniquely in this process.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The names that were given so far.
    pub fn ids_given(&self) -> Range<u64> {
        first_id(self.clock)..self.next_id.load(Ordering::Relaxed)
    }

    /// What the fleet's view depends on.
    pub fn looking(&self) -> Looking<'_> {
        Looking { clock: &self.clock, held: self.held() }
    }

    pub fn held(&self) -> u32 {
        self.held.load(Ordering::Relaxed)
    }

    /// Requests in flight on the data port.
    pub fn in_flight_now(&self) -> u32 {
        (self.limits.in_flight_max - self.in_flight.available_permits()) as u32
    }

    /// Counts a held request for as long as the answer lives.
    pub fn hold(&self) -> Held<'_> {
        self.held.fetch_add(1, Ordering::Relaxed);
        // The view's queue is longer, which is no reason to ask for the others again.
        self.fleet.mark();
        Held(self)
    }

    /// Tells policies of an event, if one of them listens.
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if self.policies.observe() {
            self.observer.tell(event());
        }
    }

    /// Counts a request, which brings a share of a try.
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn takes_a_try(&self) -> bool {
        let mut budget = self.retry_budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.requests(self.requests.swap(0, Ordering::Relaxed));
        budget.take(self.clock.now_ms())
    }

    /// What is known of answers' times; `None` where nothing is hedged.
    pub fn hedges(&self) -> Option<MutexGuard<'_, Hedges>> {
        let is_on = self.limits.hedge_percent_max > 0;
        is_on.then(|| self.hedges.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a request may be tried again after this, and there is budget for it.
    pub fn after(&self, attempts: &Attempts, failure: Failure) -> Next {
        let next = attempts.after(failure);
        // What nobody has seen adds no load.
        let is_free = failure == Failure::NotConnected;
        if next == Next::GiveUp || is_free || self.takes_a_try() {
            return next;
        }
        self.metrics.retries_denied.inc();
        Next::GiveUp
    }

    /// Takes note that a replica failed: `weight` of the failures in a row that make it unhealthy.
    pub fn replica_failed(&self, replica: &Replica, error: String, weight: u32) {
        if replica.looks_ill(error.clone(), weight, self.limits.unhealthy_after) {
            tracing::warn!(replica = replica.name, error, "replica is unhealthy");
            self.tell(|| Event::ReplicaDown(replica.id));
        }
        self.fleet.touch();
    }
}

/// The name of a run's first request.
fn first_id(clock: Clock) -> u64 {
    clock.start_unix_ms() << 20
}

/// A request that a policy holds.
pub(crate) struct Held<'a>(&'a Proxy);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        self.0.fleet.mark();
    }
}
