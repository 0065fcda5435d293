//! Makes the views of the fleet: a new one, with a new version, only when something in it changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use dispatch::{Standing, Tried};
use policy_api::{FleetView, Health, RegionId, RegionRow, ReplicaId, ReplicaRow};

use crate::fleet::{NoView, Peer, Replica};
use crate::wire::Model;

/// A reading's age is told in steps of this, so that time alone does not move the version of a fleet that is read well.
const AGE_STEP_MS: u32 = 1000;

/// Views of before that are kept for their room: those of requests that are being decided about, and a few.
const SPARE_MAX: usize = 8;

/// Hands out versions; no two views share one.
#[derive(Default)]
pub(crate) struct Publisher {
    version: u64,
    catalog: Catalog,
    /// Views of before, kept for their room.
    spare: Vec<Arc<FleetView>>,
    /// Share of the fleet that breakers may take out.
    ejection_percent_max: u32,
}

/// Which rows serve which model; made anew only when somebody told another list.
#[derive(Default)]
struct Catalog {
    replicas: Vec<Arc<[Model]>>,
    peers: Vec<Arc<[String]>>,
    /// By name; nobody's rows for a model that only other regions serve.
    serving: Arc<BTreeMap<Arc<str>, Vec<usize>>>,
}

/// A model and the replicas that serve it.
type ModelView = (Arc<str>, Arc<FleetView>);

/// The fleet at one moment: as a whole and by model.
#[derive(Default)]
pub(crate) struct Published {
    pub all: Arc<FleetView>,
    by_model: Vec<ModelView>,
    models_known: bool,
}

impl Published {
    /// The replicas that serve a model; `None` when nobody does.
    pub fn of_model(&self, model: &str) -> Option<Arc<FleetView>> {
        let found = self.by_model.binary_search_by(|(name, _)| (**name).cmp(model)).ok()?;
        Some(self.by_model[found].1.clone())
    }

    /// The replicas that serve a model; without a model, all.
    pub fn view(&self, model: Option<&str>) -> Result<Arc<FleetView>, NoView> {
        match model.map(|model| self.of_model(model)) {
            None => Ok(self.all.clone()),
            Some(Some(view)) => Ok(view),
            // Every replica and region has told its models, and none serves this one.
            Some(None) if self.models_known => Err(NoView::UnknownModel),
            Some(None) => Err(NoView::NobodyKnown),
        }
    }
}

/// A replica's row and the models it serves.
struct Row {
    row: ReplicaRow,
    models: Arc<[Model]>,
}

impl Catalog {
    fn of(&mut self, rows: &[Row], peers: &[Arc<Peer>]) -> Arc<BTreeMap<Arc<str>, Vec<usize>>> {
        let peers: Vec<Arc<[String]>> = peers.iter().map(|peer| peer.models()).collect();
        let same = self.replicas.len() == rows.len()
            && self.replicas.iter().zip(rows).all(|(old, row)| Arc::ptr_eq(old, &row.models))
            && self.peers.len() == peers.len()
            && self.peers.iter().zip(&peers).all(|(old, new)| Arc::ptr_eq(old, new));
        if !same {
            let replicas: Vec<Arc<[Model]>> = rows.iter().map(|row| row.models.clone()).collect();
            let serving = Arc::new(serving(&replicas, &peers));
            *self = Catalog { replicas, peers, serving };
        }
        self.serving.clone()
    }
}

fn serving(replicas: &[Arc<[Model]>], peers: &[Arc<[String]>]) -> BTreeMap<Arc<str>, Vec<usize>> {
    let mut serving: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
    for (row, models) in replicas.iter().enumerate() {
        for model in models.iter() {
            let rows = serving.entry(model.id.as_str().into()).or_default();
            // A replica may list a model twice.
            if rows.last() != Some(&row) {
                rows.push(row);
            }
        }
    }
    for model in peers.iter().flat_map(|models| models.iter()) {
        serving.entry(model.as_str().into()).or_default();
    }
    serving
}

impl Publisher {
    pub fn new(ejection_percent_max: u32) -> Publisher {
        Publisher { ejection_percent_max, ..Publisher::default() }
    }

    /// The next views, or `None` when they would be the last ones.
    pub fn publish(
        &mut self,
        last: &Published,
        replicas: &[Arc<Replica>],
        peers: &[Arc<Peer>],
        now_ms: u64,
        held: u32,
    ) -> Option<Published> {
        let mut rows: Vec<Row> = replicas.iter().map(|replica| row_of(replica, now_ms)).collect();
        let standings: Vec<Standing> = replicas.iter().map(|replica| replica.standing(now_ms)).collect();
        leave_out(&mut rows, &standings, self.ejection_percent_max);
        let regions = regions_of(&rows, peers, now_ms, held);
        let all: Vec<ReplicaRow> = rows.iter().map(|row| row.row.clone()).collect();
        let all = self.renewed(&last.all, &all, &regions);
        let models_known = replicas.iter().all(|replica| replica.reading().models_known())
            && peers.iter().all(|peer| peer.reading().region.is_some());
        let by_model = self.by_model(last, &all, &rows, peers, &regions);
        let same = |(old, new): (&ModelView, &ModelView)| old.0 == new.0 && Arc::ptr_eq(&old.1, &new.1);
        let unchanged = Arc::ptr_eq(&all, &last.all)
            && models_known == last.models_known
            && by_model.len() == last.by_model.len()
            && last.by_model.iter().zip(&by_model).all(same);
        (!unchanged).then_some(Published { all, by_model, models_known })
    }

    fn by_model(
        &mut self,
        last: &Published,
        all: &Arc<FleetView>,
        rows: &[Row],
        peers: &[Arc<Peer>],
        regions: &[RegionRow],
    ) -> Vec<ModelView> {
        let serving = self.catalog.of(rows, peers);
        let view_of = |(name, serving): (&Arc<str>, &Vec<usize>)| {
            if serving.len() == rows.len() {
                return (name.clone(), all.clone());
            }
            let serving: Vec<ReplicaRow> = serving.iter().map(|row| rows[*row].row.clone()).collect();
            let old = last.of_model(name).unwrap_or_default();
            (name.clone(), self.renewed(&old, &serving, regions))
        };
        serving.iter().map(view_of).collect()
    }

    /// `old` when it already says this, else a new view with the next version.
    fn renewed(&mut self, old: &Arc<FleetView>, rows: &[ReplicaRow], regions: &[RegionRow]) -> Arc<FleetView> {
        let mut next = self.room();
        let view = Arc::get_mut(&mut next).expect("nobody else has it yet");
        view.become_of(old.version, rows, regions);
        if *view == **old && old.version > 0 {
            self.keep_room(next);
            return old.clone();
        }
        view.version = self.next_version();
        self.keep_room(old.clone());
        next
    }

    /// A view that nobody looks at any more, or a new one.
    fn room(&mut self) -> Arc<FleetView> {
        let free = self.spare.iter_mut().position(|view| Arc::get_mut(view).is_some());
        free.map(|at| self.spare.swap_remove(at)).unwrap_or_default()
    }

    fn keep_room(&mut self, view: Arc<FleetView>) {
        if self.spare.len() == SPARE_MAX {
            self.spare.remove(0);
        }
        self.spare.push(view);
    }

    /// A view without the replicas that were tried.
    pub fn without(&mut self, view: &FleetView, tried: &Tried) -> Arc<FleetView> {
        let kept: Vec<usize> =
            (0..view.len()).filter(|row| !tried.replicas.contains(&ReplicaId(view.id[*row]))).collect();
        Arc::new(view.select(self.next_version(), &kept))
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}

fn row_of(replica: &Replica, now_ms: u64) -> Row {
    let mut row = replica.row(now_ms);
    row.age_ms -= row.age_ms % AGE_STEP_MS;
    Row { row, models: replica.reading().models.clone() }
}

/// Lets those look unhealthy that breakers take out or that are busy, as long as others can do their work: of those that
/// are well a share at most, and nobody who serves a model alone.
fn leave_out(rows: &mut [Row], standings: &[Standing], ejection_percent_max: u32) {
    if standings.iter().all(|standing| *standing == Standing::Closed) {
        return;
    }
    let well: Vec<usize> = (0..rows.len()).filter(|row| takes_work(&rows[*row].row)).collect();
    let of_well: Vec<Standing> = well.iter().map(|row| standings[*row]).collect();
    let ejected = dispatch::ejected(&of_well, ejection_percent_max);
    let is_out = |at: usize| ejected[at] || of_well[at] == Standing::Busy;
    let (out, others): (Vec<usize>, Vec<usize>) = (0..well.len()).partition(|at| is_out(*at));
    let serves = |model: &Model| others.iter().any(|at| rows[well[*at]].models.iter().any(|its| its.id == model.id));
    let covered: Vec<usize> = out
        .into_iter()
        .map(|at| well[at])
        .filter(|row| !others.is_empty() && rows[*row].models.iter().all(serves))
        .collect();
    for row in covered {
        rows[row].row.health = Health::Unhealthy;
    }
}

fn takes_work(row: &ReplicaRow) -> bool {
    row.health == Health::Healthy && !row.draining
}

fn regions_of(rows: &[Row], peers: &[Arc<Peer>], now_ms: u64, held: u32) -> Vec<RegionRow> {
    let own = RegionRow {
        id: RegionId(0),
        local: true,
        available: rows.iter().filter(|row| takes_work(&row.row)).count() as u32,
        queue: held,
        rtt_us: 0,
        age_ms: 0,
    };
    let others = peers.iter().map(|peer| {
        let row = peer.row(now_ms);
        RegionRow { age_ms: row.age_ms - row.age_ms % AGE_STEP_MS, ..row }
    });
    std::iter::once(own).chain(others).collect()
}
