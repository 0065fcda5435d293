//! One region's proxy: what it knows of its replicas and of other regions, and the real chain that decides by it.

use std::collections::VecDeque;
use std::sync::Arc;

use dispatch::{Chain, Tried};
use engine_scheduler::Stats;
use policy_api::{Event, FleetView, Health, Hook, RegionId, RegionRow, ReplicaId, ReplicaRole, ReplicaRow};

/// A reading's age is told in steps of this, as a proxy does, so that time alone does not move the version often.
const AGE_STEP_MS: u64 = 1000;

/// A proxy.
pub(crate) struct Proxy {
    pub chain: Chain,
    pub replicas: Vec<Known>,
    pub peers: Vec<Peer>,
    /// Requests that policies hold, oldest first.
    pub held: VecDeque<usize>,
    /// What the policies' observe hooks are to hear of.
    pub told: Vec<Event>,
    pub observes: bool,
    view: Arc<FleetView>,
    version: u64,
}

/// What a proxy knows of one of its replicas.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub id: ReplicaId,
    health: Health,
    draining: bool,
    /// As it told when it was looked at last.
    stats: Stats,
    in_flight_then: u32,
    in_flight: u32,
    prefill_tokens: u32,
    ttft_us: u32,
    tpot_us: u32,
    read_us: u64,
}

/// What a proxy knows of another region.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its place in the world.
    pub region: usize,
    pub id: RegionId,
    pub available: u32,
    pub queue: u32,
    pub rtt_us: u32,
    pub read_us: u64,
}

/// What a look at a replica found; none when it did not answer.
pub(crate) struct Look {
    pub stats: Stats,
    pub draining: bool,
}

impl Proxy {
    pub fn new(chain: Chain, replicas: u32, peers: Vec<Peer>) -> Proxy {
        let observes = chain.links().any(|link| link.has(Hook::Observe));
        let replicas = (0..replicas).map(|id| Known::new(ReplicaId(id))).collect();
        Proxy {
            chain,
            replicas,
            peers,
            held: VecDeque::new(),
            told: Vec::new(),
            observes,
            view: Arc::default(),
            version: 0,
        }
    }

    /// The fleet as it is known now: the same view while nothing in it changed.
    pub fn view(&mut self, now_us: u64) -> Arc<FleetView> {
        let rows: Vec<ReplicaRow> = self.replicas.iter().map(|known| known.row(now_us)).collect();
        let regions = self.regions(now_us);
        let same = FleetView::of(self.view.version, &rows, &regions);
        if *self.view != same || self.view.version == 0 {
            self.view = Arc::new(FleetView { version: self.next_version(), ..same });
        }
        Arc::clone(&self.view)
    }

    /// A view without the replicas that were tried.
    pub fn view_without(&mut self, view: &Arc<FleetView>, tried: &Tried) -> Arc<FleetView> {
        if tried.replicas.is_empty() {
            return Arc::clone(view);
        }
        let kept: Vec<usize> =
            (0..view.len()).filter(|row| !tried.replicas.contains(&ReplicaId(view.id[*row]))).collect();
        Arc::new(view.select(self.next_version(), &kept))
    }

    /// Replicas that could take a request now, as it tells other regions.
    pub fn available(&self) -> u32 {
        self.replicas.iter().filter(|known| known.takes_work()).count() as u32
    }

    /// The other region behind an id of this proxy's view.
    pub fn peer(&self, id: RegionId) -> usize {
        let peer = self.peers.iter().find(|peer| peer.id == id);
        peer.expect("a decision names a region of the view").region
    }

    /// Keeps an event for the observe hooks, where there are any; says whether it is the first since they heard.
    pub fn tell(&mut self, event: Event) -> bool {
        if !self.observes {
            return false;
        }
        self.told.push(event);
        self.told.len() == 1
    }

    fn regions(&self, now_us: u64) -> Vec<RegionRow> {
        let own = RegionRow {
            id: RegionId(0),
            local: true,
            available: self.available(),
            queue: self.held.len() as u32,
            rtt_us: 0,
            age_ms: 0,
        };
        let others = self.peers.iter().map(|peer| RegionRow {
            id: peer.id,
            local: false,
            available: peer.available,
            queue: peer.queue,
            rtt_us: peer.rtt_us,
            age_ms: age_ms(now_us, peer.read_us),
        });
        std::iter::once(own).chain(others).collect()
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}

impl Known {
    fn new(id: ReplicaId) -> Known {
        Known {
            id,
            health: Health::Unknown,
            draining: false,
            stats: Stats::default(),
            in_flight_then: 0,
            in_flight: 0,
            prefill_tokens: 0,
            ttft_us: 0,
            tpot_us: 0,
            read_us: 0,
        }
    }

    fn takes_work(&self) -> bool {
        self.health == Health::Healthy && !self.draining
    }

    /// Takes in what a look found; says what policies are to hear of it.
    pub fn look(&mut self, look: Option<Look>, now_us: u64) -> Option<Event> {
        let before = self.health;
        self.health = Health::Unhealthy;
        if let Some(Look { stats, draining }) = look {
            self.health = Health::Healthy;
            (self.stats, self.draining) = (stats, draining);
            (self.in_flight_then, self.read_us) = (self.in_flight, now_us);
        }
        match (before == Health::Healthy, self.health == Health::Healthy) {
            (false, true) => Some(Event::ReplicaUp(self.id)),
            (true, false) => Some(Event::ReplicaDown(self.id)),
            _ => None,
        }
    }

    /// A request is sent there.
    pub fn send(&mut self, prompt_tokens: u32) {
        self.in_flight += 1;
        self.prefill_tokens += prompt_tokens;
    }

    /// Its first token came.
    pub fn begins(&mut self, prompt_tokens: u32) {
        self.prefill_tokens -= prompt_tokens;
    }

    /// It ended, or failed.
    pub fn ends(&mut self) {
        self.in_flight -= 1;
    }

    /// Takes in what a finished request showed.
    pub fn observe(&mut self, ttft_us: u32, tpot_us: Option<u32>) {
        self.ttft_us = averaged(self.ttft_us, ttft_us);
        if let Some(tpot_us) = tpot_us {
            self.tpot_us = averaged(self.tpot_us, tpot_us);
        }
    }

    fn row(&self, now_us: u64) -> ReplicaRow {
        let (running, waiting) = self.overlaid();
        let Stats { blocks_used, blocks_total, prompt_tokens_total, cached_tokens_total, .. } = self.stats;
        ReplicaRow {
            id: self.id,
            region: RegionId(0),
            running,
            waiting,
            kv_blocks_used: blocks_used,
            kv_blocks_total: blocks_total,
            prefix_hit_permille: (cached_tokens_total * 1000).checked_div(prompt_tokens_total).unwrap_or(0) as u32,
            health: self.health,
            draining: self.draining,
            role: ReplicaRole::Mixed,
            age_ms: age_ms(now_us, self.read_us),
            ttft_us: self.ttft_us,
            tpot_us: self.tpot_us,
            weight: 100,
            prefill_tokens: self.prefill_tokens,
        }
    }

    /// Running and waiting as it told them, corrected by what was sent and received since: the proxy's own rule.
    fn overlaid(&self) -> (u32, u32) {
        let Stats { running, waiting, .. } = self.stats;
        let sent = self.in_flight.saturating_sub(self.in_flight_then);
        let ended = self.in_flight_then.saturating_sub(self.in_flight);
        let still_waiting = waiting.saturating_sub(ended.saturating_sub(running));
        let at_work = running.saturating_sub(ended).saturating_add(sent);
        (at_work.max(self.in_flight.saturating_sub(still_waiting)), still_waiting)
    }
}

fn averaged(old: u32, value: u32) -> u32 {
    if old == 0 { value } else { old - old / 8 + value / 8 }
}

fn age_ms(now_us: u64, read_us: u64) -> u32 {
    let age_ms = (now_us - read_us) / 1000;
    u32::try_from(age_ms - age_ms % AGE_STEP_MS).unwrap_or(u32::MAX)
}
