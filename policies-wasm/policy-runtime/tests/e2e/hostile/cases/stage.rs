//! A runtime whose calls end by fuel, and a host that checks what it is handed.

use std::path::Path;
use std::sync::Arc;

use policy_api::{
    Call, Event, FleetView, Health, Outcome, Policy, RegionId, RegionRow, ReplicaId, ReplicaRole, ReplicaRow,
    RequestFacts, Subject, Usage, Words,
};
use policy_runtime::{Component, Host, Level, Limits, Runtime};

/// The slot everything is loaded into.
pub(super) const SLOT: &str = "fuzz";

/// Small bounds, which a short input reaches.
pub(super) fn limits() -> Limits {
    Limits {
        component_bytes_max: 1 << 20,
        memory_bytes_max: 16 << 20,
        fuel_max: Some(2_000_000),
        load_fuel_max: 20_000_000,
        instances_max: 1,
        instances_ready: 1,
        store_bytes_max: 4 << 10,
        store_value_bytes_max: 1 << 10,
        buckets_max: 16,
        metrics_max: 8,
        prefix_blocks_max: 64,
        ..Limits::default()
    }
}

/// Holds the runtime to what it promises its host.
struct Strict(Limits);

impl Host for Strict {
    fn now_ms(&self) -> u64 {
        1000
    }
    fn log(&self, _slot: &str, _level: Level, line: &str) {
        assert!(line.len() <= self.0.log_line_bytes_max, "a line of {} bytes", line.len());
    }
    fn count(&self, _slot: &str, name: &str, _delta: u64) {
        self.check_name(name);
    }
    fn gauge(&self, _slot: &str, name: &str, _value: f64) {
        self.check_name(name);
    }
}

impl Strict {
    fn check_name(&self, name: &str) {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        assert!(is_plain && (1..=self.0.name_bytes_max).contains(&name.len()), "a metric is called {name:?}");
    }
}

pub(super) fn runtime() -> Runtime {
    Runtime::new(limits(), Arc::new(Strict(limits())), 7).expect("the bounds are sound")
}

/// Every component of a folder, in the order of their names.
pub fn components(folder: &Path) -> Vec<Vec<u8>> {
    let entries = folder.read_dir().unwrap_or_else(|error| panic!("list {}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("list the policies").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("read a policy")).collect()
}

/// Asks every hook. Whatever it answers is as good as any other answer; that there is one counts.
pub(super) fn ask(component: &Component, request: u64, prompt: &[u8]) -> bool {
    let facts = Arc::new(RequestFacts {
        id: request,
        model: "tiny".to_owned(),
        tenant: "acme".to_owned(),
        session: Some("s".to_owned()),
        prompt: prompt.to_vec().into(),
        headers: vec![("x-team".to_owned(), "blue".to_owned())],
        ..RequestFacts::default()
    });
    let fleet = Arc::new(fleet(request));
    let call = Call { now_ms: 5 + request, facts: &facts, fleet: &fleet };
    // A policy without a hook says so, and one that traps too.
    let admitted = component.admit(&call).map(|answer| check_words(&answer.words));
    let placed = component.place(&call).map(|answer| check_words(&answer.words));
    let subject = Subject { request, tenant: "acme".into(), model: "tiny".into(), ..Subject::default() };
    let usage = Usage { prompt_tokens: u32::MAX, cached_tokens: u32::MAX, output_tokens: u32::MAX };
    let ended = Event::Ended { subject, replica: Some(ReplicaId(u32::MAX)), outcome: Outcome::Finished, usage };
    let told = component.observe(5, &fleet, &[Event::ReplicaDown(ReplicaId(u32::MAX)), ended]);
    let kept = component.snapshot();
    for fault in [admitted.err(), placed.as_ref().err().cloned(), told.err(), kept.err()].into_iter().flatten() {
        check_sentence(&fault.to_string());
    }
    placed.is_ok()
}

fn check_words(words: &Words) {
    let limits = limits();
    assert!(words.attributes.len() <= limits.attributes_max);
    assert!(words.headers.len() <= limits.headers_max);
    assert!(words.headers.iter().all(|(_, value)| value.len() <= limits.header_bytes_max));
    assert!(words.reason.as_ref().is_none_or(|reason| reason.len() <= limits.reason_bytes_max));
    assert!(words.note.as_ref().is_none_or(|note| note.len() <= limits.note_bytes_max));
}

/// What a slot keeps is within its bounds.
pub(super) fn check_slot(runtime: &Runtime) {
    let Some(now) = runtime.slot_use(SLOT) else { return };
    let limits = limits();
    assert!(now.prefix_blocks <= limits.prefix_blocks_max, "{now:?}");
    assert!(now.buckets <= limits.buckets_max, "{now:?}");
    assert!(now.store_bytes <= limits.store_bytes_max, "{now:?}");
    assert!(now.metrics <= limits.metrics_max, "{now:?}");
}

/// What people are told is there, and short.
pub(super) fn check_sentence(said: &str) {
    assert!(!said.trim().is_empty(), "nothing is said");
    assert!(said.len() <= 2048, "{} bytes are said: {}…", said.len(), &said[..said.floor_char_boundary(200)]);
}

fn fleet(version: u64) -> FleetView {
    let replica = |id: u32| ReplicaRow {
        id: ReplicaId(id),
        region: RegionId(0),
        running: id,
        waiting: u32::MAX - id,
        kv_blocks_used: u32::MAX,
        kv_blocks_total: 0,
        prefix_hit_permille: 1000,
        health: Health::Healthy,
        draining: id == 2,
        role: ReplicaRole::Mixed,
        age_ms: u32::MAX,
        ttft_us: u32::MAX,
        tpot_us: 0,
        weight: id,
        prefill_tokens: u32::MAX,
    };
    let region = RegionRow { id: RegionId(0), local: true, available: 3, queue: u32::MAX, rtt_us: 0, age_ms: 0 };
    FleetView::of(version, &[replica(0), replica(1), replica(2), replica(u32::MAX)], &[region])
}
