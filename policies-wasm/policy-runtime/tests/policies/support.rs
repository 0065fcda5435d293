//! Components built from text, a host that remembers, and fleets.
use std::sync::{Arc, Mutex};

use policy_api::{
    Admission, Answer, Call, FleetView, Health, Placement, Policy, PolicyFault, RegionId, ReplicaId, ReplicaRole,
    ReplicaRow, RequestFacts,
};
use policy_runtime::{Component, Host, Level, Limits, LoadError, Runtime};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The contract's folder.
pub const WIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/policy@0.1.0");

/// A guest described by its parts: worlds it includes, WebAssembly text, and what is changed in the contract's text
/// before it is built, to make it wrong.
pub struct Guest {
    pub worlds: Vec<&'static str>,
    pub hooks: Vec<u8>,
    pub name: &'static str,
    pub contract: &'static str,
    pub schema: &'static str,
    pub single: bool,
    pub body: String,
    pub edits: Vec<(&'static str, &'static str)>,
    pub extra_imports: &'static str,
}

impl Default for Guest {
    fn default() -> Guest {
        Guest {
            worlds: vec!["described"],
            hooks: vec![],
            name: "guest",
            contract: "headworks:policy@0.1.0",
            schema: "",
            single: false,
            body: String::new(),
            edits: vec![],
            extra_imports: "",
        }
    }
}

/// A pooled guest whose `place` hook runs this text. `$request` is the borrowed request, dropped after it; the answer
/// is the placement's case, and its number for replica and region at address 4 of `(global.get $answer)`.
pub fn placing(code: &str) -> Guest {
    Guest { worlds: vec!["described", "placing"], hooks: vec![2], body: place_of(code), ..Guest::default() }
}

/// The `place` export.
pub fn place_of(code: &str) -> String {
    format!(
        r#"(func (export "headworks:policy/place@0.1.0#place") (param $request i32) (result i32)
             (local $n i32) (local $m i32)
             (i32.store8 (i32.const 1024) (block (result i32) {code}))
             (call $drop (local.get $request))
             (i32.const 1024))"#
    )
}

/// Answers replica `id`.
pub fn replica(id: u32) -> String {
    format!("(i32.store (i32.const 1028) (i32.const {id})) (i32.const 0)")
}

/// Case numbers of a placement without a number.
pub const HOLD: &str = "(i32.const 2)";
/// See [`HOLD`].
pub const PASS: &str = "(i32.const 4)";

/// Takes `{}` only; any longer configuration is refused with the field `guest` and the message `1.2.3`.
pub fn configured() -> Guest {
    let configure = r#"(func (export "headworks:policy/configure@0.1.0#configure") (param i32 i32) (result i32)
        (i32.store8 (i32.const 2048) (i32.gt_u (local.get 1) (i32.const 2)))
        (i32.store (i32.const 2052) (i32.const 0)) (i32.store (i32.const 2056) (i32.const 5))
        (i32.store (i32.const 2060) (i32.const 64)) (i32.store (i32.const 2064) (i32.const 5))
        (i32.const 2048))"#;
    Guest {
        worlds: vec!["described", "configured", "placing"],
        hooks: vec![0, 2],
        body: format!("{configure}\n{}", place_of(PASS)),
        ..Guest::default()
    }
}

impl Guest {
    pub fn bytes(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let mut version = "0.1.0".to_owned();
        let mut text = contract_text();
        for (from, to) in &self.edits {
            assert!(text.contains(from), "the contract has no {from:?}");
            text = text.replace(from, to);
            if let Some(edited) = to.strip_prefix("package headworks:policy@") {
                version = edited.trim_end_matches(';').to_owned();
            }
        }
        resolve.push_str("contract.wit", &text).unwrap();
        let includes: String =
            self.worlds.iter().map(|world| format!("include headworks:policy/{world}@{version};\n")).collect();
        let world = format!(
            "package test:guest; world guest {{ include headworks:policy/senses@{version}; {includes} {} }}",
            self.extra_imports
        );
        if self.extra_imports.contains("wasi:") {
            resolve
                .push_str("wasi.wit", "package wasi:clocks@0.2.0; interface wall-clock { now: func() -> u64; }")
                .unwrap();
        }
        let package = resolve.push_str("guest.wit", &world).unwrap();
        let world = resolve.select_world(&[package], Some("guest")).unwrap();
        let core_text =
            self.core().replace("@0.1.0\"", &format!("@{version}\"")).replace("@0.1.0#", &format!("@{version}#"));
        let mut core = wat::parse_str(&core_text).unwrap_or_else(|error| panic!("{error}\n{core_text}"));
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&core).unwrap().encode().unwrap()
    }

    fn core(&self) -> String {
        let Guest { name, contract, schema, hooks, body, .. } = self;
        let hook_bytes: String = hooks.iter().map(|hook| format!("\\{hook:02x}")).collect();
        let schema_text = schema.replace('"', "\\22");
        let single = u8::from(self.single);
        let drop = if body.contains("(call $drop") {
            r#"(import "headworks:policy/request@0.1.0" "[resource-drop]request" (func $drop (param i32)))"#
        } else {
            ""
        };
        let (imports, body) = split_imports(body);
        let (name_bytes, contract_bytes, schema_bytes, hook_count) =
            (name.len(), contract.len(), schema.len(), hooks.len());
        let describe = if self.worlds.contains(&"described") {
            format!(
                r#"(func (export "headworks:policy/describe@0.1.0#describe") (result i32)
                     (i32.store (i32.const 512) (i32.const 0)) (i32.store (i32.const 516) (i32.const {name_bytes}))
                     (i32.store (i32.const 520) (i32.const 64)) (i32.store (i32.const 524) (i32.const 5))
                     (i32.store (i32.const 528) (i32.const 128)) (i32.store (i32.const 532) (i32.const {contract_bytes}))
                     (i32.store (i32.const 536) (i32.const 192)) (i32.store (i32.const 540) (i32.const {hook_count}))
                     (i32.store8 (i32.const 544) (i32.const {single}))
                     (i32.store (i32.const 548) (i32.const 256)) (i32.store (i32.const 552) (i32.const {schema_bytes}))
                     (i32.const 512))"#
            )
        } else {
            String::new()
        };
        format!(
            r#"(module
                 {drop} {imports}
                 (memory (export "memory") 4)
                 (data (i32.const 0) "{name}") (data (i32.const 64) "1.2.3") (data (i32.const 128) "{contract}")
                 (data (i32.const 192) "{hook_bytes}") (data (i32.const 256) "{schema_text}")
                 (global $free (mut i32) (i32.const 65536))
                 (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                   (local $at i32)
                   (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                   (global.set $free (i32.add (local.get $at) (local.get 3)))
                   (if (i32.gt_u (global.get $free) (i32.const 196608)) (then (global.set $free (i32.const 65536))))
                   (local.get $at))
                 {describe}
                 {body})"#
        )
    }
}

/// Lines that begin with `(import` go before everything else.
fn split_imports(body: &str) -> (String, String) {
    let (imports, rest): (Vec<&str>, Vec<&str>) =
        body.lines().partition(|line| line.trim_start().starts_with("(import"));
    (imports.join("\n"), rest.join("\n"))
}

/// The contract's files as one, with the package's line first.
pub fn contract_text() -> String {
    let mut files: Vec<_> = std::fs::read_dir(WIT).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts: Vec<String> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let (first, rest): (Vec<&String>, Vec<&String>) = texts.iter().partition(|text| text.contains("\npackage "));
    first.into_iter().chain(rest).cloned().collect()
}

/// Remembers what policies wrote.
#[derive(Default)]
pub struct Memory {
    pub lines: Mutex<Vec<String>>,
}

impl Host for Memory {
    fn now_ms(&self) -> u64 {
        1000
    }
    fn log(&self, slot: &str, level: Level, line: &str) {
        self.lines.lock().unwrap().push(format!("{slot} {level:?}: {line}"));
    }
    fn count(&self, slot: &str, name: &str, delta: u64) {
        self.lines.lock().unwrap().push(format!("{slot} {name} += {delta}"));
    }
    fn gauge(&self, slot: &str, name: &str, value: f64) {
        self.lines.lock().unwrap().push(format!("{slot} {name} = {value}"));
    }
}

/// Bounds that a busy machine does not reach by being busy.
pub fn patient() -> Limits {
    Limits { call_deadline_ms: 2000, instance_wait_ms: 2000, instance_deadline_ms: 2000, ..Limits::default() }
}

pub fn runtime(limits: Limits) -> Runtime {
    Runtime::new(limits, Arc::new(Memory::default()), 7).unwrap()
}

pub fn load(runtime: &Runtime, guest: &Guest) -> Result<Component, LoadError> {
    runtime.load("placement", &guest.bytes(), "", None)
}

pub fn fleet(version: u64, replicas: &[u32]) -> Arc<FleetView> {
    let rows: Vec<ReplicaRow> = replicas
        .iter()
        .map(|id| ReplicaRow {
            id: ReplicaId(*id),
            region: RegionId(0),
            running: 0,
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
        })
        .collect();
    Arc::new(FleetView::of(version, &rows, &[]))
}

pub fn place(policy: &dyn Policy, request: u64, fleet: &Arc<FleetView>) -> Result<Answer<Placement>, PolicyFault> {
    let facts = Arc::new(RequestFacts { id: request, model: "tiny".to_owned(), ..RequestFacts::default() });
    policy.place(&Call { now_ms: 5, facts: &facts, fleet })
}

pub fn admit(policy: &dyn Policy, request: u64, fleet: &Arc<FleetView>) -> Result<Answer<Admission>, PolicyFault> {
    let facts = Arc::new(RequestFacts { id: request, ..RequestFacts::default() });
    policy.admit(&Call { now_ms: 5, facts: &facts, fleet })
}
