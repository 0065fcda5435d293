//! One replica: what it last said of itself, what we have sent it, and how that went.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch::{Breaker, BreakerRules, Conduct, Continues, Pattern, Standing};
use openai_api::ReplicaState;
use policy_api::{Health, RegionId, ReplicaId, ReplicaRole, ReplicaRow};

use crate::base_url::BaseUrl;
use crate::config::{self, ReplicaKind, Transport};
use crate::fleet::Source;
use crate::fleet::stay::Stay;
use crate::upstream::{Link, Links};
use crate::wire::{Model, ModelList};

/// Finished requests that show how slow a replica is.
const TTFT_SAMPLES_LEAST: u32 = 5;

/// A replica of the fleet.
pub(crate) struct Replica {
    pub id: ReplicaId,
    pub name: String,
    pub url: BaseUrl,
    transport: Transport,
    pub link: Link,
    pub kind: ReplicaKind,
    continues: Continues,
    pub region: RegionId,
    /// Of what it serves, only these are its own here; empty: all.
    only_models: Arc<[Pattern]>,
    weight: AtomicU32,
    pub stay: Stay,
    is_watched: AtomicBool,
    in_flight: AtomicU32,
    /// Of the requests whose first token is still to come.
    prefill_tokens: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
    breaker: Mutex<Breaker>,
    /// The breaker has nothing to tell, which spares most requests its lock.
    calm: AtomicBool,
    rules: BreakerRules,
    /// Finished requests that the average below is made of.
    ttft_samples: AtomicU32,
    /// Moving averages of what this proxy saw; 0 before the first.
    ttft_us: AtomicU32,
    tpot_us: AtomicU32,
    reading: Mutex<Reading>,
}

/// What the last looks at a replica, and requests to it, showed.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub health: Health,
    pub health_error: Option<String>,
    /// Why its load could not be read, though it may be well.
    pub load_error: Option<String>,
    failures_in_row: u32,
    pub state: ReplicaState,
    /// Our requests in flight to it when the state was asked for.
    in_flight_then: u32,
    pub models: Arc<[Model]>,
    models_read: bool,
    /// Monotonic milliseconds.
    read_ms: Option<u64>,
}

/// Counts a request to a replica from the moment it is placed until it ends.
pub(crate) struct Ticket {
    pub replica: Arc<Replica>,
    /// Its prompt's tokens, until its first token comes.
    prefill_tokens: u32,
    /// What became of it is not known yet.
    is_open: bool,
}

impl Replica {
    pub fn new(id: ReplicaId, file: &config::Replica, source: Source, rules: BreakerRules, links: &Links) -> Replica {
        let config::Replica { name, url, region, kind, continues, weight, models, transport } = file.clone();
        Replica {
            id,
            name,
            link: links.to(&url, &transport),
            transport,
            url,
            kind,
            continues,
            region,
            only_models: models,
            weight: AtomicU32::new(weight),
            stay: Stay::of(source),
            is_watched: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            prefill_tokens: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            breaker: Mutex::default(),
            calm: AtomicBool::new(true),
            rules,
            ttft_samples: AtomicU32::new(0),
            ttft_us: AtomicU32::new(0),
            tpot_us: AtomicU32::new(0),
            reading: Mutex::new(Reading {
                health: Health::Unknown,
                health_error: None,
                load_error: None,
                failures_in_row: 0,
                state: ReplicaState::default(),
                in_flight_then: 0,
                models: Arc::new([]),
                models_read: false,
                read_ms: None,
            }),
        }
    }

    /// Whether a source means this one by it. Another weight is no other replica.
    pub fn is_as(&self, file: &config::Replica) -> bool {
        let config::Replica { name, url, region, kind, continues, weight: _, models, transport } = file;
        let own =
            (&self.name, &self.url, &self.transport, &self.region, &self.kind, &self.continues, &self.only_models);
        own == (name, url, transport, region, kind, continues, models)
    }

    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// Whether nobody looks at it yet; from now on somebody does.
    pub fn begin_watch(&self) -> bool {
        !self.is_watched.swap(true, Ordering::AcqRel)
    }

    /// A ticket for one more request with a prompt of about so many tokens, or `None` when `in_flight_max` are under way.
    pub fn ticket(self: &Arc<Self>, in_flight_max: u32, prefill_tokens: u32) -> Option<Ticket> {
        let one_more = |now: u32| (now < in_flight_max).then_some(now + 1);
        self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).ok()?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.prefill_tokens.fetch_add(prefill_tokens.into(), Ordering::AcqRel);
        Some(Ticket { replica: self.clone(), prefill_tokens, is_open: true })
    }

    pub fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How its breaker stands.
    pub fn standing(&self, now_ms: u64) -> Standing {
        match self.calm.load(Ordering::Acquire) {
            true => Standing::Closed,
            false => self.breaker().standing(now_ms),
        }
    }

    /// Takes note that a request is sent to it.
    pub fn begins(&self, now_ms: u64) {
        if !self.calm.load(Ordering::Acquire) {
            self.breaker().begins(now_ms);
        }
    }

    /// Takes note of what it did with a request. Says whether it stands otherwise by it.
    pub fn conducts(&self, now_ms: u64, conduct: Conduct) -> bool {
        let is_news = !matches!(conduct, Conduct::Good | Conduct::Unknown);
        if !is_news && self.calm.load(Ordering::Acquire) {
            return false;
        }
        let mut breaker = self.breaker();
        let changed = breaker.count(now_ms, conduct, &self.rules);
        self.calm.store(breaker.is_calm(), Ordering::Release);
        changed
    }

    /// Takes it out for its slowness; what it took so far counts no more.
    pub fn eject(&self, now_ms: u64) {
        self.ttft_samples.store(0, Ordering::Relaxed);
        self.ttft_us.store(0, Ordering::Relaxed);
        self.calm.store(false, Ordering::Release);
        self.breaker().eject(now_ms, &self.rules);
    }

    /// Its time to first token once enough requests have shown it; else 0.
    pub fn ttft_shown_us(&self) -> u32 {
        match self.ttft_samples.load(Ordering::Relaxed) {
            TTFT_SAMPLES_LEAST.. => self.ttft_us.load(Ordering::Relaxed),
            _ => 0,
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has come back: what its breaker knew was about another life.
    fn starts_anew(&self) {
        *self.breaker() = Breaker::default();
        self.calm.store(true, Ordering::Release);
    }

    /// How it goes on with a stream that another replica began.
    pub fn continues(&self) -> Continues {
        self.continues
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    pub fn requests_total(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn failures_total(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a good look's findings. Says whether it has become healthy by it.
    pub fn looks_well(&self, state: ReplicaState, in_flight_then: u32, now_ms: u64) -> bool {
        let mut reading = self.reading();
        let recovered = reading.health != Health::Healthy;
        // One that was started again between two looks has been up for less time than before.
        if recovered || state.uptime_ms < reading.state.uptime_ms {
            self.starts_anew();
        }
        let Reading { models, models_read, load_error, .. } = &*reading;
        *reading = Reading {
            health: Health::Healthy,
            health_error: None,
            load_error: load_error.clone(),
            failures_in_row: 0,
            state,
            in_flight_then,
            models: models.clone(),
            models_read: *models_read,
            read_ms: Some(now_ms),
        };
        recovered
    }

    /// Whether it was away, or now says another name: what it served before says nothing of what it serves now.
    pub fn may_be_another(&self, state: &ReplicaState) -> bool {
        let reading = self.reading();
        reading.health_error.is_some() || reading.state.model != state.model
    }

    /// Takes note of why its load could not be read, if it could not.
    pub fn loads(&self, error: Option<String>) {
        self.reading().load_error = error;
    }

    /// Takes the list of models.
    pub fn serves(&self, mut models: ModelList) {
        if !self.only_models.is_empty() {
            models.retain(|model| self.only_models.iter().any(|only| only.matches(&model.id)));
        }
        let mut reading = self.reading();
        let same = |(old, new): (&Model, &Model)| old.id == new.id && old.object.get() == new.object.get();
        // The same list is the same allocation, which is how the fleet's views know that nothing changed.
        if reading.models.len() != models.len() || !reading.models.iter().zip(&models).all(same) {
            reading.models = models.into();
        }
        reading.models_read = true;
    }

    /// Takes a failure: `weight` of the `unhealthy_after` failures in a row that make it unhealthy. Says whether it
    /// has become unhealthy by it.
    pub fn looks_ill(&self, error: String, weight: u32, unhealthy_after: u32) -> bool {
        let mut reading = self.reading();
        reading.failures_in_row = reading.failures_in_row.saturating_add(weight);
        let was = reading.health;
        // A replica that has never been well needs no second failure to be believed ill.
        if reading.failures_in_row >= unhealthy_after || was == Health::Unknown {
            reading.health = Health::Unhealthy;
        }
        reading.health_error = Some(error);
        was != Health::Unhealthy && reading.health == Health::Unhealthy
    }

    /// Takes what a finished request showed.
    pub fn observe(&self, ttft_us: u32, tpot_us: Option<u32>) {
        let average = |cell: &AtomicU32, value: u32| {
            let old = cell.load(Ordering::Relaxed);
            let new = if old == 0 { value } else { old - old / 8 + value / 8 };
            cell.store(new, Ordering::Relaxed);
        };
        average(&self.ttft_us, ttft_us);
        self.ttft_samples.fetch_add(1, Ordering::Relaxed);
        if let Some(tpot_us) = tpot_us {
            average(&self.tpot_us, tpot_us);
        }
    }

    /// The replica as policies see it.
    pub fn row(&self, now_ms: u64) -> ReplicaRow {
        let reading = self.reading();
        let state = &reading.state;
        let (running, waiting) = overlaid(state, reading.in_flight_then, self.in_flight());
        ReplicaRow {
            id: self.id,
            region: self.region,
            running,
            waiting,
            kv_blocks_used: state.kv_blocks_used,
            kv_blocks_total: state.kv_blocks_total,
            prefix_hit_permille: state.prefix_hit_permille,
            health: reading.health,
            draining: state.draining || self.stay.drains(),
            role: role_of(&state.role),
            age_ms: reading.age_ms(now_ms).unwrap_or(u32::MAX),
            ttft_us: seen_or(&self.ttft_us, state.ttft_us),
            tpot_us: seen_or(&self.tpot_us, state.tpot_us),
            weight: self.weight.load(Ordering::Relaxed),
            prefill_tokens: self.prefill_tokens.load(Ordering::Acquire).try_into().unwrap_or(u32::MAX),
        }
    }
}

impl Reading {
    /// Since the last good look; `None` before the first.
    pub fn age_ms(&self, now_ms: u64) -> Option<u32> {
        self.read_ms.map(|read_ms| now_ms.saturating_sub(read_ms).try_into().unwrap_or(u32::MAX))
    }

    /// Whether the replica has ever told its models.
    pub fn models_known(&self) -> bool {
        self.models_read
    }
}

fn role_of(word: &str) -> ReplicaRole {
    match word {
        "prefill" => ReplicaRole::Prefill,
        "decode" => ReplicaRole::Decode,
        _ => ReplicaRole::Mixed,
    }
}

fn seen_or(seen: &AtomicU32, told: u32) -> u32 {
    match seen.load(Ordering::Relaxed) {
        0 => told,
        seen => seen,
    }
}

/// Running and waiting as the replica told them, corrected by what we have sent and received since.
///
/// Counts are taken when the question is sent: what is sent while it is answered counts twice until the next look,
/// which spreads a burst, where counting it never would herd it.
fn overlaid(state: &ReplicaState, in_flight_then: u32, in_flight_now: u32) -> (u32, u32) {
    let sent = in_flight_now.saturating_sub(in_flight_then);
    let ended = in_flight_then.saturating_sub(in_flight_now);
    let running = state.running.saturating_sub(ended).saturating_add(sent);
    let waiting = state.waiting.saturating_sub(ended.saturating_sub(state.running));
    // What others have there can be no less than nothing, so ours is the least there is.
    (running.max(in_flight_now.saturating_sub(waiting)), waiting)
}

impl Ticket {
    /// The replica did this with the request. Says whether it stands otherwise by it.
    pub fn conducts(&mut self, now_ms: u64, conduct: Conduct) -> bool {
        self.is_open = false;
        self.replica.conducts(now_ms, conduct)
    }

    /// Its first token has come.
    pub fn begins(&mut self) {
        let prefill_tokens = std::mem::take(&mut self.prefill_tokens);
        self.replica.prefill_tokens.fetch_sub(prefill_tokens.into(), Ordering::AcqRel);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.begins();
        if self.is_open {
            // Time plays no part in what nobody waited for.
            self.replica.conducts(0, Conduct::Unknown);
        }
        self.replica.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(told: (u32, u32), then: u32, now: u32, expected: (u32, u32)) {
        let state = ReplicaState { running: told.0, waiting: told.1, ..ReplicaState::default() };
        assert_eq!(overlaid(&state, then, now), expected);
    }

    #[test]
    fn what_it_told_stands_while_nothing_changes() {
        check((3, 1), 2, 2, (3, 1));
    }

    #[test]
    fn a_burst_since_the_look_is_seen() {
        check((3, 1), 2, 7, (8, 1));
        check((0, 0), 0, 5, (5, 0));
        check((u32::MAX, 0), 0, 5, (u32::MAX, 0));
    }

    #[test]
    fn what_ended_since_the_look_is_gone() {
        check((3, 1), 3, 1, (1, 1));
        check((1, 4), 4, 0, (0, 1));
    }

    #[test]
    fn our_own_requests_are_the_least_there_is() {
        check((0, 0), 4, 4, (4, 0));
    }
}
