//! The backend's verbs: each checks its operands' shapes and hands them to a kernel.

use std::sync::Arc;

use engine_backend::{
    Attention, Backend, Error, Experts, ForwardBatch, Gate, Heads, KvShape, Norm, Rope, Routing, Shape, Source,
};

use crate::attention::Attend;
use crate::cache::{Cache, KvType, Slot};
use crate::elementwise::{self, Means, RmsNorm};
use crate::experts;
use crate::isa::Isa;
use crate::matrix::{self, Matrix};
use crate::product::{Activations, Finish, Multiplier, Product};
use crate::tensor::{Step, Tensor};
use crate::threads::{Shared, Threads};

/// Tokens whose keys and values one thread stores at once.
const STORE_TOKENS: usize = 16;
/// Tokens whose rows one thread looks up at once.
const EMBED_TOKENS: usize = 16;

/// Runs models on this machine's processors.
///
/// Copies share their threads and their scratch memory.
#[derive(Clone, Debug)]
pub struct CpuBackend {
    options: CpuOptions,
    threads: Arc<Threads>,
    multiplier: Arc<Multiplier>,
}

/// How a backend computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuOptions {
    /// With which instructions.
    pub isa: Isa,
    /// What activations become before they meet narrow weights.
    pub activations: Activations,
    /// How keys and values are kept.
    pub kv: KvType,
}

impl CpuOptions {
    /// All in f32 but the weights, which are what they are: what others are measured against.
    pub const fn exact(isa: Isa) -> CpuOptions {
        CpuOptions { isa, activations: Activations::Exact, kv: KvType::F32 }
    }

    /// As fast as the instructions allow: activations, keys and values in bf16.
    pub const fn fast(isa: Isa) -> CpuOptions {
        CpuOptions { isa, activations: Activations::Rounded, kv: KvType::Bf16 }
    }
}

impl Default for CpuBackend {
    fn default() -> CpuBackend {
        CpuBackend::new()
    }
}

impl CpuBackend {
    /// Exact, with the best instructions there are and the process's threads.
    pub fn new() -> CpuBackend {
        CpuBackend::of(CpuOptions::exact(Isa::available()[0]), Threads::of_process())
    }

    /// Fast: what a server runs.
    pub fn fast() -> CpuBackend {
        CpuBackend::of(CpuOptions::fast(Isa::available()[0]), Threads::of_process())
    }

    /// Exact with these instructions, if the machine has them.
    pub fn with_isa(isa: Isa) -> Option<CpuBackend> {
        CpuBackend::with(CpuOptions::exact(isa), Threads::of_process())
    }

    /// As told, if the machine has the instructions.
    pub fn with(options: CpuOptions, threads: Arc<Threads>) -> Option<CpuBackend> {
        Isa::available().contains(&options.isa).then(|| CpuBackend::of(options, threads))
    }

    fn of(options: CpuOptions, threads: Arc<Threads>) -> CpuBackend {
        let multiplier = Arc::new(Multiplier::new(options.isa, options.activations));
        CpuBackend { options, threads, multiplier }
    }

    fn means(&self) -> Means<'_> {
        Means { isa: self.options.isa, threads: &self.threads }
    }
}

impl Backend for CpuBackend {
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type Tensor = Tensor;
    type KvCache = Cache;
    type Step = Step;

    fn name(&self) -> String {
        let CpuOptions { isa, activations, kv } = self.options;
        let activations = match activations {
            Activations::Exact => "exact",
            Activations::Rounded => "rounded",
        };
        format!("cpu, {}, {} threads, {activations} activations, KV in {kv:?}", isa.name(), self.threads.count())
    }

    fn matrix(&self, source: &Source<'_>) -> Result<Matrix, Error> {
        Matrix::of(source, self.options.activations, &self.threads)
    }

    fn vector(&self, source: &Source<'_>) -> Result<Vec<f32>, Error> {
        matrix::check(source)?;
        Ok(source.parts.iter().flat_map(|part| part.read_f32()).collect())
    }

    fn tensor(&self, room: Shape) -> Result<Tensor, Error> {
        Tensor::with_room(room)
    }

    fn kv_cache(&self, shape: KvShape) -> Result<Cache, Error> {
        Cache::of(shape, self.options.kv)
    }

    fn step(&self, batch: &ForwardBatch, ropes: &[Rope], cache: &Cache) -> Result<Step, Error> {
        let pairs = cache.shape.heads.dim / 2;
        if let Some(rope) = ropes.iter().find(|rope| !(1..=pairs).contains(&rope.frequencies.len())) {
            let found = rope.frequencies.len();
            return Err(Error::BadBatch(format!("{found} rotary pairs in heads of {pairs} pairs")));
        }
        cache.check(batch)?;
        Ok(Step::of(batch, ropes))
    }

    fn embed(&self, step: &Step, table: &Matrix, out: &mut Tensor) -> Result<(), Error> {
        same("embedding and output columns", table.shape.columns, out.columns())?;
        let tokens = step.batch.tokens();
        if let Some(token) = tokens.iter().find(|token| **token as usize >= table.shape.rows) {
            return Err(Error::BadBatch(format!("token {token} of {}", table.shape.rows)));
        }
        let columns = table.shape.columns;
        let rows = Shared::of(out.with_rows(tokens.len())?);
        self.threads.split(tokens.len(), EMBED_TOKENS, |range| {
            for at in range {
                // SAFETY: each row is one item, so one thread's.
                table.row(tokens[at] as usize, unsafe { rows.part(at * columns..(at + 1) * columns) });
            }
        });
        Ok(())
    }

    fn rms_norm(&self, norm: Norm<'_, Vec<f32>>, x: &Tensor, out: &mut Tensor) -> Result<(), Error> {
        same("norm and input columns", norm.weight.len(), x.columns())?;
        same("norm and output columns", norm.weight.len(), out.columns())?;
        let parameters = RmsNorm { weight: norm.weight, epsilon: norm.epsilon };
        elementwise::rms_norm(self.means(), parameters, &x.numbers, out.with_rows(x.rows())?);
        Ok(())
    }

    fn add_rms_norm(
        &self,
        norm: Norm<'_, Vec<f32>>,
        sum: &mut Tensor,
        x: &Tensor,
        out: &mut Tensor,
    ) -> Result<(), Error> {
        same("numbers in both summands", sum.numbers.len(), x.numbers.len())?;
        same("norm and summand columns", norm.weight.len(), x.columns())?;
        same("norm and output columns", norm.weight.len(), out.columns())?;
        let parameters = RmsNorm { weight: norm.weight, epsilon: norm.epsilon };
        let out = out.with_rows(x.rows())?;
        elementwise::add_rms_norm(self.means(), parameters, &mut sum.numbers, &x.numbers, out);
        Ok(())
    }

    fn linear(&self, x: &Tensor, weight: &Matrix, bias: Option<&Vec<f32>>, out: &mut Tensor) -> Result<(), Error> {
        let Shape { rows: outputs, columns: inputs } = weight.shape;
        same("weight and input columns", inputs, x.columns())?;
        same("weight rows and output columns", outputs, out.columns())?;
        same("bias and output columns", bias.map_or(outputs, Vec::len), outputs)?;
        let bias = bias.map(Vec::as_slice);
        let out = out.with_rows(x.rows())?;
        let product = Product { x: &x.numbers, weight, bias, out, finish: Finish::Store };
        self.multiplier.multiply(product, &self.threads)
    }

    fn linear_add(&self, x: &Tensor, weight: &Matrix, bias: Option<&Vec<f32>>, sum: &mut Tensor) -> Result<(), Error> {
        let Shape { rows: outputs, columns: inputs } = weight.shape;
        same("weight and input columns", inputs, x.columns())?;
        same("weight rows and sum's columns", outputs, sum.columns())?;
        same("bias and sum's columns", bias.map_or(outputs, Vec::len), outputs)?;
        same("input and sum's rows", x.rows(), sum.rows())?;
        let (bias, out) = (bias.map(Vec::as_slice), &mut sum.numbers);
        self.multiplier.multiply(Product { x: &x.numbers, weight, bias, out, finish: Finish::Add }, &self.threads)
    }

    fn linear_gate(
        &self,
        gate: Gate,
        x: &Tensor,
        weight: &Matrix,
        bias: Option<&Vec<f32>>,
        out: &mut Tensor,
    ) -> Result<(), Error> {
        let Shape { rows: outputs, columns: inputs } = weight.shape;
        same("weight and input columns", inputs, x.columns())?;
        same("weight rows and twice the output columns", outputs, 2 * out.columns())?;
        same("bias and weight rows", bias.map_or(outputs, Vec::len), outputs)?;
        let (bias, out) = (bias.map(Vec::as_slice), out.with_rows(x.rows())?);
        let product = Product { x: &x.numbers, weight, bias, out, finish: Finish::Store };
        self.multiplier.gate(gate, product, self.means())
    }

    fn norm_heads(
        &self,
        heads: Heads,
        query: Norm<'_, Vec<f32>>,
        key: Norm<'_, Vec<f32>>,
        qkv: &mut Tensor,
    ) -> Result<(), Error> {
        same("heads and input columns", heads.qkv_columns(), qkv.columns())?;
        same("query norm and head", query.weight.len(), heads.dim)?;
        same("key norm and head", key.weight.len(), heads.dim)?;
        let columns = heads.qkv_columns();
        let count = qkv.rows();
        let rows = Shared::of(&mut qkv.numbers);
        let means = self.means();
        let query = RmsNorm { weight: query.weight, epsilon: query.epsilon };
        let key = RmsNorm { weight: key.weight, epsilon: key.epsilon };
        self.threads.split(count, STORE_TOKENS, |range| {
            for row in range {
                // SAFETY: each row is one item, so one thread's.
                let row = unsafe { rows.part(row * columns..(row + 1) * columns) };
                let (queries, rest) = row.split_at_mut(heads.query_columns());
                elementwise::rms_norm_heads(means, query, queries);
                elementwise::rms_norm_heads(means, key, &mut rest[..heads.kv_columns()]);
            }
        });
        Ok(())
    }

    fn rotate_and_store(
        &self,
        step: &Step,
        qkv: &mut Tensor,
        cache: &mut Cache,
        attention: &Attention,
    ) -> Result<(), Error> {
        let KvShape { heads, block_tokens, .. } = cache.shape;
        same("heads and input columns", heads.qkv_columns(), qkv.columns())?;
        same("tokens and input rows", step.places.len(), qkv.rows())?;
        let (turns, columns) = (step.turns_of(attention.rope)?, heads.qkv_columns());
        let (rows, writer) = (Shared::of(&mut qkv.numbers), cache.writer(attention.layer));
        self.threads.split(step.places.len(), STORE_TOKENS, |range| {
            for token in range {
                let place = &step.places[token];
                // SAFETY: each token is one item, so one thread's.
                let row = unsafe { rows.part(token * columns..(token + 1) * columns) };
                let turns = turns.of_token(token);
                let (turned, values) = row.split_at_mut(heads.query_columns() + heads.kv_columns());
                turned.chunks_exact_mut(heads.dim).for_each(|head| elementwise::rotate(head, turns));
                let keys = turned[heads.query_columns()..].chunks_exact(heads.dim);
                let table = step.table(&step.batch.sequences()[place.sequence]);
                let block = table[place.position / block_tokens] as usize;
                let slot = |head| Slot { block, token: place.position % block_tokens, head };
                for (head, (key, value)) in keys.zip(values.chunks_exact(heads.dim)).enumerate() {
                    // SAFETY: the step was checked against the cache; no two tokens of a batch have the same slot.
                    unsafe { writer.store(slot(head), key, value) };
                }
            }
        });
        Ok(())
    }

    fn attend(
        &self,
        step: &Step,
        qkv: &Tensor,
        cache: &Cache,
        attention: &Attention,
        out: &mut Tensor,
    ) -> Result<(), Error> {
        let heads = cache.shape.heads;
        same("heads and input columns", heads.qkv_columns(), qkv.columns())?;
        same("tokens and input rows", step.places.len(), qkv.rows())?;
        same("query heads and output columns", heads.query_columns(), out.columns())?;
        let out = out.with_rows(qkv.rows())?;
        let attend = Attend { isa: self.options.isa, step, qkv: &qkv.numbers, cache, attention };
        attend.run(&self.threads, out);
        Ok(())
    }

    fn silu_mul(&self, x: &Tensor, out: &mut Tensor) -> Result<(), Error> {
        same("half of the input and output columns", x.columns() / 2, out.columns())?;
        let columns = out.columns();
        elementwise::silu_mul(self.means(), &x.numbers, columns, out.with_rows(x.rows())?);
        Ok(())
    }

    fn gelu_mul(&self, x: &Tensor, out: &mut Tensor) -> Result<(), Error> {
        same("half of the input and output columns", x.columns() / 2, out.columns())?;
        let columns = out.columns();
        elementwise::gelu_mul(self.means(), &x.numbers, columns, out.with_rows(x.rows())?);
        Ok(())
    }

    fn experts(
        &self,
        experts: Experts<'_, Matrix>,
        routing: Routing,
        x: &Tensor,
        logits: &Tensor,
        out: &mut Tensor,
    ) -> Result<(), Error> {
        let Experts { gate_up, down } = experts;
        same("experts and columns of their logits", gate_up.len(), logits.columns())?;
        same("experts' first and second matrices", gate_up.len(), down.len())?;
        same("input rows and rows of logits", x.rows(), logits.rows())?;
        for (gate_up, down) in gate_up.iter().zip(down) {
            same("expert and input columns", gate_up.shape.columns, x.columns())?;
            same("half of an expert's rows and its second columns", gate_up.shape.rows / 2, down.shape.columns)?;
            same("expert's rows and output columns", down.shape.rows, out.columns())?;
        }
        let out = out.with_rows(x.rows())?;
        experts::apply(&self.multiplier, self.means(), experts, routing, &x.numbers, &logits.numbers, out)
    }

    fn scale(&self, factor: f32, x: &mut Tensor) -> Result<(), Error> {
        x.numbers.iter_mut().for_each(|number| *number *= factor);
        Ok(())
    }

    fn soft_cap(&self, cap: f32, x: &mut Tensor) -> Result<(), Error> {
        elementwise::soft_cap(self.means(), cap, &mut x.numbers);
        Ok(())
    }

    fn pick_rows(&self, step: &Step, x: &Tensor, out: &mut Tensor) -> Result<(), Error> {
        same("input and output columns", x.columns(), out.columns())?;
        same("tokens and input rows", step.places.len(), x.rows())?;
        let columns = x.columns();
        let picked = out.with_rows(step.batch.logits_rows())?.chunks_exact_mut(columns);
        for (row, out) in step.batch.rows_wanted().zip(picked) {
            out.copy_from_slice(&x.numbers[row * columns..][..columns]);
        }
        Ok(())
    }

    fn read(&self, x: &Tensor, out: &mut Vec<f32>) -> Result<(), Error> {
        out.clear();
        out.extend_from_slice(&x.numbers);
        Ok(())
    }
}

fn same(what: &'static str, left: usize, right: usize) -> Result<(), Error> {
    match left == right {
        true => Ok(()),
        false => Err(Error::BadBatch(format!("{what} differ: {left} and {right}"))),
    }
}
