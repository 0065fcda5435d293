//! What a policy sees of the fleet: one column per field, one row per replica, and a version that moves with them.
//!
//! Columns rather than records because a guest reads a column in one call (POLICY-CONTRACT: 0.4 µs for 64 replicas
//! against 3.4 µs for a list of records).

use serde::{Deserialize, Serialize};

/// Names a replica for as long as the process lives; an id is never given to another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReplicaId(pub u32);

/// Names a region for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RegionId(pub u32);

/// Whether a replica may be given work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Health {
    /// No check has answered yet.
    Unknown = 0,
    /// The last check was good.
    Healthy = 1,
    /// The last checks failed, or requests to it did.
    Unhealthy = 2,
}

/// What part of a request a replica runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ReplicaRole {
    /// Prefill and decode.
    Mixed = 0,
    /// Prefill only.
    Prefill = 1,
    /// Decode only.
    Decode = 2,
}

/// One replica, as the one who fills a [`FleetView`] knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaRow {
    /// Which replica.
    pub id: ReplicaId,
    /// The region it stands in.
    pub region: RegionId,
    /// Requests in its running batch, the proxy's own unacknowledged sends included.
    pub running: u32,
    /// Requests it holds back.
    pub waiting: u32,
    /// KV blocks in use.
    pub kv_blocks_used: u32,
    /// KV blocks it has; 0 when it does not say.
    pub kv_blocks_total: u32,
    /// Prompt tokens answered from its prefix cache, in thousandths.
    pub prefix_hit_permille: u32,
    /// Whether it may be given work.
    pub health: Health,
    /// It finishes what it has and takes nothing new.
    pub draining: bool,
    /// What it runs.
    pub role: ReplicaRole,
    /// Age of this reading in milliseconds.
    pub age_ms: u32,
    /// Observed time to first token in microseconds (moving average; 0 before the first).
    pub ttft_us: u32,
    /// Observed time per output token in microseconds (moving average; 0 before the first).
    pub tpot_us: u32,
    /// Relative capacity; 100 is ordinary.
    pub weight: u32,
    /// Estimated prompt tokens of the requests sent there whose first token is still to come.
    pub prefill_tokens: u32,
}

/// One region, as the one who fills a [`FleetView`] knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionRow {
    /// Which region.
    pub id: RegionId,
    /// It is this proxy's own.
    pub local: bool,
    /// Replicas there that could take a request now.
    pub available: u32,
    /// Requests queued there.
    pub queue: u32,
    /// Round trip to it in microseconds; 0 for the local region.
    pub rtt_us: u32,
    /// Age of this reading in milliseconds.
    pub age_ms: u32,
}

/// The fleet at one moment. All replica columns have the same length; row `i` of each is the same replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetView {
    /// Moves whenever any column below does.
    pub version: u64,
    /// [`ReplicaId`]s.
    pub id: Vec<u32>,
    /// [`RegionId`] of each replica.
    pub region: Vec<u32>,
    /// See [`ReplicaRow::running`].
    pub running: Vec<u32>,
    /// See [`ReplicaRow::waiting`].
    pub waiting: Vec<u32>,
    /// See [`ReplicaRow::kv_blocks_used`].
    pub kv_blocks_used: Vec<u32>,
    /// See [`ReplicaRow::kv_blocks_total`].
    pub kv_blocks_total: Vec<u32>,
    /// See [`ReplicaRow::prefix_hit_permille`].
    pub prefix_hit_permille: Vec<u32>,
    /// [`Health`] as its number.
    pub health: Vec<u32>,
    /// 1 while draining.
    pub draining: Vec<u32>,
    /// [`ReplicaRole`] as its number.
    pub role: Vec<u32>,
    /// See [`ReplicaRow::age_ms`].
    pub age_ms: Vec<u32>,
    /// See [`ReplicaRow::ttft_us`].
    pub ttft_us: Vec<u32>,
    /// See [`ReplicaRow::tpot_us`].
    pub tpot_us: Vec<u32>,
    /// See [`ReplicaRow::weight`].
    pub weight: Vec<u32>,
    /// See [`ReplicaRow::prefill_tokens`].
    pub prefill_tokens: Vec<u32>,
    /// The regions.
    pub regions: Regions,
}

/// The regions' columns, all of the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Regions {
    /// [`RegionId`]s.
    pub id: Vec<u32>,
    /// 1 for this proxy's own region.
    pub local: Vec<u32>,
    /// See [`RegionRow::available`].
    pub available: Vec<u32>,
    /// See [`RegionRow::queue`].
    pub queue: Vec<u32>,
    /// See [`RegionRow::rtt_us`].
    pub rtt_us: Vec<u32>,
    /// See [`RegionRow::age_ms`].
    pub age_ms: Vec<u32>,
}

impl FleetView {
    /// Lays rows out as columns.
    pub fn of(version: u64, replicas: &[ReplicaRow], regions: &[RegionRow]) -> FleetView {
        let mut view = FleetView::default();
        view.become_of(version, replicas, regions);
        view
    }

    /// Lays rows out as columns in the room that this view's take.
    pub fn become_of(&mut self, version: u64, replicas: &[ReplicaRow], regions: &[RegionRow]) {
        self.clear();
        self.version = version;
        for row in replicas {
            self.push(row);
        }
        for row in regions {
            self.regions.push(row);
        }
    }

    /// How many replicas there are.
    pub fn len(&self) -> usize {
        self.id.len()
    }

    /// Whether there is no replica at all.
    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// The row of a replica, if the fleet has it.
    pub fn row_of(&self, replica: ReplicaId) -> Option<usize> {
        self.id.iter().position(|id| *id == replica.0)
    }

    /// Whether the replica in `row` may be given a new request.
    pub fn takes_work(&self, row: usize) -> bool {
        self.health[row] == Health::Healthy as u32 && self.draining[row] == 0
    }

    /// Whether any replica may be given a new request.
    pub fn takes_any_work(&self) -> bool {
        (0..self.len()).any(|row| self.takes_work(row))
    }

    /// The same moment with only these rows, in this order, under another version. The regions stay.
    pub fn select(&self, version: u64, rows: &[usize]) -> FleetView {
        let mut view = self.clone();
        view.version = version;
        for column in view.columns_mut() {
            *column = rows.iter().map(|row| column[*row]).collect();
        }
        view
    }

    fn clear(&mut self) {
        self.columns_mut().into_iter().for_each(Vec::clear);
        self.regions.columns_mut().into_iter().for_each(Vec::clear);
    }

    /// The replicas' columns.
    fn columns_mut(&mut self) -> [&mut Vec<u32>; 15] {
        let FleetView {
            version: _,
            id,
            region,
            running,
            waiting,
            kv_blocks_used,
            kv_blocks_total,
            prefix_hit_permille,
            health,
            draining,
            role,
            age_ms,
            ttft_us,
            tpot_us,
            weight,
            prefill_tokens,
            regions: _,
        } = self;
        [
            id,
            region,
            running,
            waiting,
            kv_blocks_used,
            kv_blocks_total,
            prefix_hit_permille,
            health,
            draining,
            role,
            age_ms,
            ttft_us,
            tpot_us,
            weight,
            prefill_tokens,
        ]
    }

    fn push(&mut self, row: &ReplicaRow) {
        let ReplicaRow {
            id,
            region,
            running,
            waiting,
            kv_blocks_used,
            kv_blocks_total,
            prefix_hit_permille,
            health,
            draining,
            role,
            age_ms,
            ttft_us,
            tpot_us,
            weight,
            prefill_tokens,
        } = row;
        self.id.push(id.0);
        self.region.push(region.0);
        self.running.push(*running);
        self.waiting.push(*waiting);
        self.kv_blocks_used.push(*kv_blocks_used);
        self.kv_blocks_total.push(*kv_blocks_total);
        self.prefix_hit_permille.push(*prefix_hit_permille);
        self.health.push(*health as u32);
        self.draining.push(u32::from(*draining));
        self.role.push(*role as u32);
        self.age_ms.push(*age_ms);
        self.ttft_us.push(*ttft_us);
        self.tpot_us.push(*tpot_us);
        self.weight.push(*weight);
        self.prefill_tokens.push(*prefill_tokens);
    }
}

impl Regions {
    fn columns_mut(&mut self) -> [&mut Vec<u32>; 6] {
        let Regions { id, local, available, queue, rtt_us, age_ms } = self;
        [id, local, available, queue, rtt_us, age_ms]
    }

    fn push(&mut self, row: &RegionRow) {
        let RegionRow { id, local, available, queue, rtt_us, age_ms } = row;
        self.id.push(id.0);
        self.local.push(u32::from(*local));
        self.available.push(*available);
        self.queue.push(*queue);
        self.rtt_us.push(*rtt_us);
        self.age_ms.push(*age_ms);
    }
}
