//! The backend's verbs: each checks its operands' shapes and hands them to a kernel.

use engine_backend::{
    Attention, Backend, Error, Experts, ForwardBatch, Heads, KvShape, Norm, Rope, Routing, Shape, Source,
};

use crate::cache::{Cache, Slot};
use crate::isa::Isa;
use crate::matrix::{self, Matrix};
use crate::tensor::{Step, Tensor};
use crate::{attention, elementwise, experts, product, windowed};

/// Runs models on this machine's processors.
#[derive(Clone, Copy, Debug)]
pub struct CpuBackend {
    isa: Isa,
}

impl Default for CpuBackend {
    fn default() -> CpuBackend {
        CpuBackend::new()
    }
}

impl CpuBackend {
    /// Uses the best instructions there are, and rayon's threads where they pay.
    pub fn new() -> CpuBackend {
        CpuBackend { isa: Isa::available()[0] }
    }

    /// Uses these instructions, if the machine has them.
    pub fn with_isa(isa: Isa) -> Option<CpuBackend> {
        Isa::available().contains(&isa).then_some(CpuBackend { isa })
    }
}

impl Backend for CpuBackend {
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type Tensor = Tensor;
    type KvCache = Cache;
    type Step = Step;

    fn name(&self) -> String {
        let isa = match self.isa {
            Isa::Avx512 => "AVX-512",
            Isa::Avx2 => "AVX2",
            Isa::Portable => "no vector instructions of its own",
        };
        format!("cpu, {isa}, {} threads", rayon::current_num_threads())
    }

    fn matrix(&self, source: &Source<'_>) -> Result<Matrix, Error> {
        Matrix::of(source)
    }

    fn vector(&self, source: &Source<'_>) -> Result<Vec<f32>, Error> {
        matrix::check(source)?;
        Ok(source.parts.iter().flat_map(|part| part.read_f32()).collect())
    }

    fn tensor(&self, room: Shape) -> Result<Tensor, Error> {
        Tensor::with_room(room)
    }

    fn kv_cache(&self, shape: KvShape) -> Result<Cache, Error> {
        Cache::of(shape)
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
        let rows = out.with_rows(tokens.len())?.chunks_exact_mut(table.shape.columns);
        tokens.iter().zip(rows).for_each(|(token, row)| table.row(*token as usize, row));
        Ok(())
    }

    fn rms_norm(&self, norm: Norm<'_, Vec<f32>>, x: &Tensor, out: &mut Tensor) -> Result<(), Error> {
        same("norm and input columns", norm.weight.len(), x.columns())?;
        same("norm and output columns", norm.weight.len(), out.columns())?;
        elementwise::rms_norm(&x.numbers, norm.weight, norm.epsilon, out.with_rows(x.rows())?);
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
        elementwise::add(&mut sum.numbers, &x.numbers);
        self.rms_norm(norm, sum, out)
    }

    fn linear(&self, x: &Tensor, weight: &Matrix, bias: Option<&Vec<f32>>, out: &mut Tensor) -> Result<(), Error> {
        let Shape { rows: outputs, columns: inputs } = weight.shape;
        same("weight and input columns", inputs, x.columns())?;
        same("weight rows and output columns", outputs, out.columns())?;
        same("bias and output columns", bias.map_or(outputs, Vec::len), outputs)?;
        let bias = bias.map(Vec::as_slice);
        product::linear(self.isa, &x.numbers, weight, bias, out.with_rows(x.rows())?);
        Ok(())
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
        for row in qkv.numbers.chunks_exact_mut(heads.qkv_columns()) {
            let (queries, rest) = row.split_at_mut(heads.query_columns());
            elementwise::rms_norm_in_place(queries, query.weight, query.epsilon);
            elementwise::rms_norm_in_place(&mut rest[..heads.kv_columns()], key.weight, key.epsilon);
        }
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
        let rows = qkv.numbers.chunks_exact_mut(heads.qkv_columns());
        let turns = step.turns_of(attention.rope)?;
        for ((row, turns), place) in rows.zip(turns).zip(&step.places) {
            let (turned, values) = row.split_at_mut(heads.query_columns() + heads.kv_columns());
            turned.chunks_exact_mut(heads.dim).for_each(|head| elementwise::rotate(head, turns));
            let keys = turned[heads.query_columns()..].chunks_exact(heads.dim);
            let table = step.table(&step.batch.sequences()[place.sequence]);
            let block = table[place.position / block_tokens] as usize;
            let token = place.position % block_tokens;
            for (head, (key, value)) in keys.zip(values.chunks_exact(heads.dim)).enumerate() {
                cache.store(attention.layer, Slot { block, token, head }, key, value);
            }
        }
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
        match windowed::is_plain(cache, attention) {
            true => attention::attend(self.isa, step, &qkv.numbers, cache, attention.layer, out),
            false => windowed::attend(step, &qkv.numbers, cache, attention, out),
        }
        Ok(())
    }

    fn silu_mul(&self, x: &Tensor, out: &mut Tensor) -> Result<(), Error> {
        same("half of the input and output columns", x.columns() / 2, out.columns())?;
        let columns = out.columns();
        elementwise::silu_mul(&x.numbers, columns, out.with_rows(x.rows())?);
        Ok(())
    }

    fn gelu_mul(&self, x: &Tensor, out: &mut Tensor) -> Result<(), Error> {
        same("half of the input and output columns", x.columns() / 2, out.columns())?;
        let columns = out.columns();
        elementwise::gelu_mul(&x.numbers, columns, out.with_rows(x.rows())?);
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
        experts::apply(self.isa, experts, routing, &x.numbers, &logits.numbers, out);
        Ok(())
    }

    fn scale(&self, factor: f32, x: &mut Tensor) -> Result<(), Error> {
        x.numbers.iter_mut().for_each(|number| *number *= factor);
        Ok(())
    }

    fn soft_cap(&self, cap: f32, x: &mut Tensor) -> Result<(), Error> {
        elementwise::soft_cap(cap, &mut x.numbers);
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
