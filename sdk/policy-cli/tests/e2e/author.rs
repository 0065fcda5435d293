//! An author with a room of their own, the verbs, and a runtime to load what they built.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use policy_api::{
    Answer, Call, FleetView, Health, Placement, Policy, PolicyFault, RegionId, ReplicaId, ReplicaRole, ReplicaRow,
    RequestFacts,
};
use policy_cli::Verb;
use policy_runtime::{Component, Host, Level, Limits, Runtime};

/// `headworks policy …`.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// A folder outside the repository.
pub(crate) struct Room(tempfile::TempDir);

impl Room {
    pub(crate) fn new() -> Room {
        Room(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `policy new` and the name's folder.
    pub(crate) fn scaffold(&self, name: &str, lang: &str) -> PathBuf {
        let folder = self.path(name);
        policy(&["new", name, "--lang", lang, "--folder", text(&folder)]).unwrap();
        folder
    }

    /// `policy build` of a folder, and the component.
    pub(crate) fn build(&self, folder: &Path) -> anyhow::Result<Vec<u8>> {
        let out = self.path("built.wasm");
        policy(&["build", text(folder), "-o", text(&out)])?;
        Ok(fs::read(out).unwrap())
    }
}

/// `headworks policy` with these words.
pub(crate) fn policy(words: &[&str]) -> anyhow::Result<()> {
    let cli = Cli::try_parse_from(std::iter::once("policy").chain(words.iter().copied()))?;
    policy_cli::run(cli.verb)
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Replaces a part of a file that must be there.
pub(crate) fn edit(path: &Path, from: &str, to: &str) {
    let old = fs::read_to_string(path).unwrap();
    assert!(old.contains(from), "{} has no {from:?}", path.display());
    fs::write(path, old.replace(from, to)).unwrap();
}

/// A host that keeps nothing.
struct Quiet;

impl Host for Quiet {
    fn now_ms(&self) -> u64 {
        0
    }
    fn log(&self, _slot: &str, _level: Level, _line: &str) {}
    fn count(&self, _slot: &str, _name: &str, _delta: u64) {}
    fn gauge(&self, _slot: &str, _name: &str, _value: f64) {}
}

/// Loads a component under the bounds of a proxy, but for time: a busy machine is no fault of the policy.
pub(crate) fn load(component: &[u8], config: &str) -> Component {
    let limits = Limits {
        call_deadline_ms: 2000,
        load_deadline_ms: 20_000,
        instance_wait_ms: 2000,
        instance_deadline_ms: 20_000,
        ..Limits::default()
    };
    let runtime = Runtime::new(limits, Arc::new(Quiet), 7).unwrap();
    runtime.load("placement", component, config, None).unwrap_or_else(|error| panic!("{error}"))
}

/// Asks for a place among replicas that run so many requests each; their ids are 1, 2, …
pub(crate) fn place(
    component: &Component,
    running: &[u32],
    model: &str,
    session: Option<&str>,
) -> Result<Answer<Placement>, PolicyFault> {
    let rows: Vec<ReplicaRow> = running.iter().zip(1..).map(|(running, id)| row(id, *running)).collect();
    let fleet = Arc::new(FleetView::of(1, &rows, &[]));
    let facts =
        RequestFacts { model: model.to_owned(), session: session.map(str::to_owned), ..RequestFacts::default() };
    component.place(&Call { now_ms: 5, facts: &Arc::new(facts), fleet: &fleet })
}

/// The replica's id, and why.
pub(crate) fn chosen(answer: Answer<Placement>) -> (u32, String) {
    match answer.verdict {
        Placement::Replica(ReplicaId(id)) => (id, answer.words.reason.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

fn row(id: u32, running: u32) -> ReplicaRow {
    ReplicaRow {
        id: ReplicaId(id),
        region: RegionId(0),
        running,
        waiting: 0,
        kv_blocks_used: 0,
        kv_blocks_total: 100,
        prefix_hit_permille: 0,
        health: Health::Healthy,
        draining: false,
        role: ReplicaRole::Mixed,
        age_ms: 0,
        ttft_us: 0,
        tpot_us: 0,
        weight: 100,
        prefill_tokens: 0,
    }
}
