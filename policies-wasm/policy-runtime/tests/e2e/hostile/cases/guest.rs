//! A guest made of the contract itself: it imports every function there is and calls them as a script says.

use std::fmt::Write as _;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, WorldId, WorldItem};

/// The contract's folder.
const WIT: &str = "wit/policy@0.1.0";

/// The first byte of a script; the self-check's prompts begin otherwise.
pub const SCRIPT_BEGINS: u8 = 0xf5;

/// An import as core WebAssembly sees it.
struct Import {
    interface: String,
    name: String,
    params: Vec<WasmType>,
    results: Vec<WasmType>,
}

/// The guest's bytes.
pub fn component() -> Vec<u8> {
    let mut resolve = Resolve::default();
    // This crate's folder, or the fuzzers' one below it.
    let found =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join(WIT)).find(|path| path.is_dir());
    resolve.push_dir(found.expect("the contract is there")).expect("the contract is sound");
    let world = "package test:guest; world guest { include headworks:policy/senses@0.1.0;
        include headworks:policy/described@0.1.0; include headworks:policy/placing@0.1.0;
        include headworks:policy/observing@0.1.0; }";
    let package = resolve.push_str("guest.wit", world).expect("the world is sound");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world is there");
    let text = core(&imports(&resolve, world));
    let mut core = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("the world fits");
    ComponentEncoder::default().module(&core).and_then(|mut encoder| encoder.encode()).expect("the module fits")
}

fn imports(resolve: &Resolve, world: WorldId) -> Vec<Import> {
    let mut imports = Vec::new();
    for item in resolve.worlds[world].imports.values() {
        let WorldItem::Interface { id, .. } = item else { continue };
        let interface = resolve.id_of(*id).expect("the contract's interfaces have names");
        for function in resolve.interfaces[*id].functions.values() {
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            imports.push(Import {
                interface: interface.clone(),
                name: function.name.clone(),
                params: signature.params,
                results: signature.results,
            });
        }
    }
    imports.push(Import {
        interface: "headworks:policy/request@0.1.0".to_owned(),
        name: "[resource-drop]request".to_owned(),
        params: vec![WasmType::I32],
        results: vec![],
    });
    imports
}

fn core(imports: &[Import]) -> String {
    let (mut declared, mut called) = (String::new(), String::new());
    for (index, Import { interface, name, params, results }) in imports.iter().enumerate() {
        let types = |list: &[WasmType]| list.iter().map(|one| word_of(*one)).collect::<Vec<_>>().join(" ");
        let (params_text, results_text) = (types(params), types(results));
        writeln!(
            declared,
            "(import \"{interface}\" \"{name}\" (func $f{index} (param {params_text}) (result {results_text})))"
        )
        .expect("a String takes everything");
        let arguments: String = params.iter().map(|one| argument(*one)).collect();
        let drops = "(drop)".repeat(results.len());
        writeln!(
            called,
            "(if (i32.eq (local.get $op) (i32.const {index})) (then {arguments} (call $f{index}) {drops}))"
        )
        .expect("a String takes everything");
    }
    let find = |wanted: &str| imports.iter().position(|import| import.name == wanted).expect("the contract has it");
    let (prompt, drop, count) = (find("[method]request.prompt"), find("[resource-drop]request"), imports.len());
    format!(
        r#"(module
             {declared}
             (memory (export "memory") 4)
             (data (i32.const 0) "caller") (data (i32.const 64) "1.2.3") (data (i32.const 128) "headworks:policy@0.1.0")
             (data (i32.const 192) "\02\04")
             (data (i32.const 4096) "tenant-a") (data (i32.const 4608) "cost_1 x-policy \c3\28 \ed\a0\80")
             (global $free (mut i32) (i32.const 65536))
             (global $at (mut i32) (i32.const 0)) (global $length (mut i32) (i32.const 0))
             (global $request (mut i32) (i32.const 0))
             (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
               (local $at i32)
               (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
               (global.set $free (i32.add (local.get $at) (local.get 3)))
               (if (i32.gt_u (global.get $free) (i32.const 196608)) (then (global.set $free (i32.const 65536))))
               (local.get $at))
             (func (export "headworks:policy/describe@0.1.0#describe") (result i32)
               (i32.store (i32.const 512) (i32.const 0)) (i32.store (i32.const 516) (i32.const 6))
               (i32.store (i32.const 520) (i32.const 64)) (i32.store (i32.const 524) (i32.const 5))
               (i32.store (i32.const 528) (i32.const 128)) (i32.store (i32.const 532) (i32.const 22))
               (i32.store (i32.const 536) (i32.const 192)) (i32.store (i32.const 540) (i32.const 1))
               (i32.store8 (i32.const 544) (i32.const 1))
               (i32.store (i32.const 548) (i32.const 256)) (i32.store (i32.const 552) (i32.const 0))
               (i32.const 512))
             (func $byte (result i32)
               (if (i32.ge_u (global.get $at) (global.get $length)) (then (return (i32.const 0))))
               (global.set $at (i32.add (global.get $at) (i32.const 1)))
               (i32.load8_u (i32.add (i32.const 8191) (global.get $at))))
             (func $short (result i32) (i32.or (i32.shl (call $byte) (i32.const 8)) (call $byte)))
             (func $word (result i32)
               (local $kind i32)
               (local.set $kind (i32.and (call $byte) (i32.const 15)))
               (if (i32.lt_u (local.get $kind) (i32.const 6)) (then (return (i32.and (call $byte) (i32.const 31)))))
               (if (i32.lt_u (local.get $kind) (i32.const 9)) (then (return (global.get $request))))
               (if (i32.lt_u (local.get $kind) (i32.const 11)) (then (return (i32.const 4096))))
               (if (i32.eq (local.get $kind) (i32.const 11)) (then (return (call $short))))
               (if (i32.eq (local.get $kind) (i32.const 12)) (then (return (i32.const -1))))
               (if (i32.eq (local.get $kind) (i32.const 13)) (then (return (i32.const 0x7fffffff))))
               (if (i32.eq (local.get $kind) (i32.const 14)) (then (return (i32.const 4608))))
               (i32.or (i32.shl (call $short) (i32.const 16)) (call $short)))
             (func $wide (result i64)
               (i64.or (i64.shl (i64.extend_i32_u (call $word)) (i64.const 32)) (i64.extend_i32_u (call $word))))
             (func $run
               (local $op i32)
               (global.set $at (i32.const 0))
               (loop $next
                 (if (i32.ge_u (global.get $at) (global.get $length)) (then (return)))
                 (local.set $op (i32.rem_u (call $byte) (i32.const {count})))
                 {called}
                 (br $next)))
             (func (export "headworks:policy/place@0.1.0#place") (param $lent i32) (result i32)
               (global.set $request (local.get $lent))
               (call $f{prompt} (local.get $lent) (i32.const 0) (i32.const 4097) (i32.const 2048))
               (global.set $length (i32.const 0))
               (if (i32.eq (i32.load8_u (i32.load (i32.const 2048))) (i32.const {SCRIPT_BEGINS})) (then
                 (global.set $length (i32.sub (i32.load (i32.const 2052)) (i32.const 1)))
                 (memory.copy (i32.const 8192) (i32.add (i32.load (i32.const 2048)) (i32.const 1)) (global.get $length))
                 (call $run)))
               (call $f{drop} (local.get $lent))
               (i32.store8 (i32.const 1024) (i32.const 4))
               (i32.const 1024))
             (func (export "headworks:policy/observe@0.1.0#observe") (param i32 i32) (call $run)))"#
    )
}

fn word_of(one: WasmType) -> &'static str {
    match one {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    }
}

fn argument(one: WasmType) -> &'static str {
    match one {
        WasmType::I64 | WasmType::PointerOrI64 => "(call $wide)",
        WasmType::F32 => "(f32.reinterpret_i32 (call $word))",
        WasmType::F64 => "(f64.reinterpret_i64 (call $wide))",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "(call $word)",
    }
}
