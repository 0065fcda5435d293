//! What the handlers share: the model's facts, the way to the driver, and the state others may read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use openai_api::{ModelCard, ReplicaState};
use telemetry::Tracer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::body::BodyBounds;
use crate::driver::{Job, View};
use crate::metrics::{Metrics, Reading};
use crate::template::ChatTemplate;
use crate::vocabulary::Vocabulary;
use crate::{Config, clock};

/// Shared by all handlers of one process.
pub(crate) struct Server {
    pub facts: ModelFacts,
    pub vocabulary: Arc<Vocabulary>,
    pub template: Option<ChatTemplate>,
    pub inbox: mpsc::Sender<Job>,
    pub view: watch::Receiver<View>,
    pub metrics: Arc<Metrics>,
    pub tracer: Tracer,
    pub spans_dropped: Box<dyn Fn() -> u64 + Send + Sync>,
    pub body_bounds: BodyBounds,
    pub requests: Arc<Semaphore>,
    pub requests_max: usize,
    /// Every request in flight holds a receiver.
    pub requests_open: watch::Sender<()>,
    pub tokenize: Arc<Semaphore>,
    pub tokenize_max: usize,
    pub connections: Arc<Semaphore>,
    pub connections_max: usize,
    pub started: Instant,
    pub draining: AtomicBool,
}

/// A request's place among those in flight.
pub(crate) struct InFlight {
    _permit: OwnedSemaphorePermit,
    _open: watch::Receiver<()>,
}

/// What a request must fit to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelFacts {
    /// The name in requests.
    pub name: String,
    /// Longest prompt plus output: the model's context, or the KV cache if that is smaller.
    pub context_tokens_max: u32,
    /// Token ids are below this.
    pub vocabulary_size: u32,
}

/// Whether requests can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Ok,
    Draining,
    /// The driver has ended.
    Dead,
}

impl Server {
    pub fn health(&self) -> Health {
        match (self.inbox.is_closed(), self.draining.load(Ordering::Relaxed)) {
            (true, _) => Health::Dead,
            (false, true) => Health::Draining,
            (false, false) => Health::Ok,
        }
    }

    /// A place for one more request, if fewer than the bound are in flight.
    pub fn take_in(&self) -> Option<InFlight> {
        let permit = self.requests.clone().try_acquire_owned().ok()?;
        Some(InFlight { _permit: permit, _open: self.requests_open.subscribe() })
    }

    /// For `/v1/models`.
    pub fn model_card(&self) -> ModelCard {
        ModelCard {
            id: self.facts.name.clone(),
            object: "model".to_owned(),
            created: clock::unix(self.started).as_secs(),
            owned_by: "headworks".to_owned(),
            max_model_len: Some(self.facts.context_tokens_max),
        }
    }

    /// For `/state`. Who is still on the way to the driver waits too.
    pub fn state(&self) -> ReplicaState {
        let View { stats, step_tokens: _, ttft_us, tpot_us, prefix_hit_permille } = *self.view.borrow();
        let uptime = clock::now() - self.started;
        ReplicaState {
            model: self.facts.name.clone(),
            role: "mixed".to_owned(),
            draining: self.health() != Health::Ok,
            running: stats.running,
            waiting: stats.waiting + u32::try_from(self.inbox_now()).unwrap_or(u32::MAX),
            waiting_max: stats.waiting_max,
            kv_blocks_used: stats.blocks_used,
            kv_blocks_total: stats.blocks_total,
            kv_block_tokens: stats.block_tokens,
            prompt_tokens_total: stats.prompt_tokens_total,
            cached_tokens_total: stats.cached_tokens_total,
            output_tokens_total: stats.output_tokens_total,
            prefix_hit_permille,
            ttft_us,
            tpot_us,
            context_tokens_max: self.facts.context_tokens_max,
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// For `/metrics`.
    pub fn reading(&self) -> Reading {
        Reading {
            view: *self.view.borrow(),
            inbox: self.inbox_now(),
            connections: self.connections_max - self.connections.available_permits(),
            requests_in_flight: self.requests_max - self.requests.available_permits(),
            tokenizing: self.tokenize_max - self.tokenize.available_permits(),
            spans_dropped: (self.spans_dropped)(),
        }
    }

    fn inbox_now(&self) -> usize {
        self.inbox.max_capacity() - self.inbox.capacity()
    }
}

/// The bounds the handlers keep, out of the configuration.
pub(crate) fn body_bounds(config: &Config) -> BodyBounds {
    BodyBounds { bytes_max: config.body_bytes_max, wait_max: config.body_wait_max }
}
