//! Rates of the products and of attention on this machine, by instruction set: what a change to a kernel is tried on.
#![expect(clippy::unwrap_used, reason = "it stops at the first surprise")]

use std::time::Instant;

use engine_backend::{
    Attention, Backend, DType, ForwardBatch, Heads, KvShape, LogitsWanted, Rope, Shape, Source, SourcePart,
};
use engine_cpu::{CpuBackend, CpuOptions, Isa, KvType, Threads};

fn best(rounds: usize, mut work: impl FnMut()) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..rounds {
        let started = Instant::now();
        work();
        least = least.min(started.elapsed().as_secs_f64());
    }
    least
}

fn product(backend: &CpuBackend, dtype: DType, rows: usize, outputs: usize, inner: usize) {
    let bytes: Vec<u8> = (0..dtype.bytes_of(outputs * inner).unwrap()).map(|at| (at % 61) as u8).collect();
    let shape = Shape { rows: outputs, columns: inner };
    let weight = backend.matrix(&Source { shape, parts: vec![SourcePart { dtype, bytes: &bytes }] }).unwrap();
    let table = backend.tensor(Shape { rows, columns: inner }).unwrap();
    let mut x = table;
    let heads = Heads { query: 1, kv: 1, dim: 2 };
    let cache = backend.kv_cache(KvShape { layers: 1, blocks: rows, block_tokens: 16, heads }).unwrap();
    let mut batch = ForwardBatch::default();
    for row in 0..rows as u32 {
        batch.push(&[row % outputs as u32], 0, [row], LogitsWanted::Yes);
    }
    let step = backend.step(&batch, &[Rope { frequencies: vec![1.0], magnitude: 1.0 }], &cache).unwrap();
    backend.embed(&step, &weight, &mut x).unwrap();
    let mut out = backend.tensor(Shape { rows, columns: outputs }).unwrap();
    let s = best(if rows > 64 { 6 } else { 30 }, || backend.linear(&x, &weight, None, &mut out).unwrap());
    let gflops = 2.0 * (rows * outputs * inner) as f64 / s / 1e9;
    println!(
        "  {dtype:?} {rows} x {inner} -> {outputs}: {:.3} ms, {gflops:.0} GFLOP/s, {:.1} GB/s",
        s * 1e3,
        bytes.len() as f64 / s / 1e9
    );
}

fn attention(backend: &CpuBackend, tokens: usize, position: usize) {
    let heads = Heads { query: 14, kv: 2, dim: 64 };
    let blocks = (tokens + position).div_ceil(16);
    let mut cache = backend.kv_cache(KvShape { layers: 1, blocks, block_tokens: 16, heads }).unwrap();
    let mut batch = ForwardBatch::default();
    batch.push(&vec![0; tokens], position as u32, 0..blocks as u32, LogitsWanted::Yes);
    let ropes = [Rope { frequencies: vec![0.5; 32], magnitude: 1.0 }];
    let step = backend.step(&batch, &ropes, &cache).unwrap();
    let bytes = vec![1u8; heads.qkv_columns() * 2];
    let shape = Shape { rows: 1, columns: heads.qkv_columns() };
    let weight =
        backend.matrix(&Source { shape, parts: vec![SourcePart { dtype: DType::Bf16, bytes: &bytes }] }).unwrap();
    let mut qkv = backend.tensor(Shape { rows: tokens, columns: heads.qkv_columns() }).unwrap();
    backend.embed(&step, &weight, &mut qkv).unwrap();
    let mut out = backend.tensor(Shape { rows: tokens, columns: heads.query_columns() }).unwrap();
    let plain = Attention::plain(0, heads);
    let store = best(5, || backend.rotate_and_store(&step, &mut qkv, &mut cache, &plain).unwrap());
    let s = best(10, || backend.attend(&step, &qkv, &cache, &plain, &mut out).unwrap());
    println!("  attend {tokens} from {position}: {:.3} ms; rotate and store {:.3} ms", s * 1e3, store * 1e3);
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    for isa in Isa::available().into_iter().filter(|isa| *isa != Isa::Portable) {
        if args.len() > 1 && args[1] != format!("{isa:?}") {
            continue;
        }
        println!("{isa:?}");
        let backend = CpuBackend::with(CpuOptions::fast(isa), Threads::of_process()).unwrap();
        for (rows, outputs, inner) in
            [(512, 9728, 896), (512, 896, 4864), (1, 151_936, 896), (8, 151_936, 896), (1, 9728, 896)]
        {
            product(&backend, DType::Bf16, rows, outputs, inner);
        }
        for dtype in [DType::Q8_0, DType::Q4_0] {
            for (rows, outputs, inner) in [(512, 9728, 896), (1, 151_936, 896), (8, 151_936, 896)] {
                product(&backend, dtype, rows, outputs, inner);
            }
        }
        for kv in [KvType::Bf16, KvType::Int8] {
            println!(" {kv:?}");
            let backend = CpuBackend::with(CpuOptions { kv, ..CpuOptions::fast(isa) }, Threads::of_process()).unwrap();
            attention(&backend, 512, 0);
            attention(&backend, 1, 128);
            attention(&backend, 1, 8000);
        }
    }
}
