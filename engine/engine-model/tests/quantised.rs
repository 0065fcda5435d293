//! GPTQ's and AWQ's layouts, packed here as their authors' tools pack them, against the same numbers stored plainly.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use engine_backend::{ForwardBatch, LogitsWanted};
use engine_cpu::CpuBackend;
use engine_model::{LoadOptions, Model, PlainType, Preset, Synth, synth};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

const GROUP: usize = 32;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

#[derive(Clone, Copy, PartialEq)]
enum Packing {
    Gptq,
    /// Input `i` is in group `inputs - 1 - i / GROUP`.
    GptqInAnOrderOfItsOwn,
    Awq,
}

/// A layer in groups: what each number, zero point and scale is.
struct Layer {
    outputs: usize,
    inputs: usize,
    numbers: Vec<Vec<u32>>,
    zeros: Vec<Vec<u32>>,
    scales: Vec<Vec<f16>>,
    groups: Vec<usize>,
}

impl Layer {
    fn of(weights: &[f32], outputs: usize, groups: Vec<usize>) -> Layer {
        let inputs = weights.len() / outputs;
        let count = inputs / GROUP;
        let mut layer = Layer {
            outputs,
            inputs,
            numbers: vec![vec![0; inputs]; outputs],
            zeros: vec![vec![0; outputs]; count],
            scales: vec![vec![f16::ZERO; outputs]; count],
            groups,
        };
        for (output, row) in weights.chunks_exact(inputs).enumerate() {
            for group in 0..count {
                let members = || (0..inputs).filter(|input| layer.groups[*input] == group).map(|input| row[input]);
                let (least, most) = (members().fold(-0.001, f32::min), members().fold(0.001, f32::max));
                layer.scales[group][output] = f16::from_f32((most - least) / 14.0);
                // GPTQ stores one less: none may be zero.
                layer.zeros[group][output] = ((-least / (most - least) * 14.0).round() as u32).max(1);
            }
            for (input, weight) in row.iter().enumerate() {
                let (scale, zero) = layer.of_input(output, input);
                layer.numbers[output][input] = (weight / scale + zero).round().clamp(0.0, 15.0) as u32;
            }
        }
        layer
    }

    fn of_input(&self, output: usize, input: usize) -> (f32, f32) {
        let group = self.groups[input];
        (self.scales[group][output].to_f32(), self.zeros[group][output] as f32)
    }

    fn plain(&self) -> Vec<u8> {
        let number = |output: usize, input: usize| {
            let (scale, zero) = self.of_input(output, input);
            scale * (self.numbers[output][input] as f32 - zero)
        };
        let numbers = (0..self.outputs).flat_map(|output| (0..self.inputs).map(move |input| number(output, input)));
        numbers.flat_map(f32::to_le_bytes).collect()
    }

    fn packed(&self, name: &str, packing: Packing) -> Tensors {
        let Layer { outputs, inputs, ref numbers, ref zeros, ref scales, ref groups } = *self;
        // Bits from the low end up.
        let pack = |eight: &[u32]| eight.iter().rev().fold(0, |packed, number| packed << 4 | number).to_le_bytes();
        let in_awq_order = |eight: &[u32]| [0, 2, 4, 6, 1, 3, 5, 7].map(|place: usize| eight[place]);
        let (weights, shape, zeros): (Vec<[u8; 4]>, _, Vec<[u8; 4]>) = if packing == Packing::Awq {
            let row = |row: &[u32]| row.chunks(8).map(|eight| pack(&in_awq_order(eight))).collect::<Vec<_>>();
            let by_input = (0..inputs).map(|input| numbers.iter().map(|row| row[input]).collect::<Vec<u32>>());
            let weights = by_input.flat_map(|outputs| row(&outputs)).collect();
            (weights, vec![inputs, outputs / 8], zeros.iter().flat_map(|zeros| row(zeros)).collect())
        } else {
            let eights = (0..inputs).step_by(8);
            let weights = eights.flat_map(|first| numbers.iter().map(move |row| pack(&row[first..first + 8])));
            let less_one = zeros.iter().map(|zeros| zeros.iter().map(|zero| zero - 1).collect::<Vec<u32>>());
            let zeros = less_one.flat_map(|zeros| zeros.chunks(8).map(pack).collect::<Vec<_>>());
            (weights.collect(), vec![inputs / 8, outputs], zeros.collect())
        };
        let scales: Vec<u8> = scales.iter().flatten().flat_map(|scale| scale.to_le_bytes()).collect();
        let count = inputs / GROUP;
        let mut tensors = Tensors::from([
            (format!("{name}.qweight"), (Dtype::I32, shape, weights.concat())),
            (format!("{name}.qzeros"), (Dtype::I32, vec![count, outputs / 8], zeros.concat())),
            (format!("{name}.scales"), (Dtype::F16, vec![count, outputs], scales)),
        ]);
        if packing != Packing::Awq {
            let groups = groups.iter().flat_map(|group| (*group as u32).to_le_bytes()).collect();
            tensors.insert(format!("{name}.g_idx"), (Dtype::I32, vec![inputs], groups));
        }
        tensors
    }
}

/// A checkpoint with packed layers, and one with the same numbers in f32.
fn pair(packing: Packing) -> (TempDir, TempDir) {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for dir in &dirs {
        synth(&Synth { seed: 3, dtype: PlainType::F32, ..Synth::new(dir.path(), Preset::Tiny) }).unwrap();
    }
    let bytes = fs::read(dirs[0].path().join("model.safetensors")).unwrap();
    let (mut packed, mut plain) = (Tensors::new(), Tensors::new());
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let Some(layer) = name.strip_suffix("_proj.weight") else {
            let tensor = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            plain.insert(name.clone(), tensor.clone());
            packed.insert(name, tensor);
            continue;
        };
        let weights: Vec<f32> = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let &[outputs, inputs] = view.shape() else { unreachable!("projections are matrices") };
        let groups = (0..inputs).map(|input| match packing {
            Packing::GptqInAnOrderOfItsOwn => (inputs - 1 - input) % (inputs / GROUP),
            _ => input / GROUP,
        });
        let made = Layer::of(&weights, outputs, groups.collect());
        packed.extend(made.packed(&format!("{layer}_proj"), packing));
        plain.insert(name, (Dtype::F32, vec![outputs, inputs], made.plain()));
    }
    write(dirs[0].path(), &packed);
    write(dirs[1].path(), &plain);
    let method = if packing == Packing::Awq { "awq" } else { "gptq" };
    let quantisation = json!({"quant_method": method, "bits": 4, "group_size": GROUP});
    edit(dirs[0].path(), |config| config["quantization_config"] = quantisation);
    dirs.into()
}

fn write(dir: &Path, tensors: &Tensors) {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(dir.join("model.safetensors"), bytes).unwrap();
}

fn edit(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("config.json");
    let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(path, config.to_string()).unwrap();
}

fn logits(dir: &Path) -> Result<Vec<f32>, String> {
    let options = LoadOptions { kv_blocks: 4, ..LoadOptions::default() };
    let mut model = Model::load(CpuBackend::new(), dir, &options).map_err(|error| error.to_string())?;
    let mut batch = ForwardBatch::default();
    batch.push(&[54, 448, 288, 819, 89, 279], 0, [2], LogitsWanted::Yes);
    Ok(model.forward(&batch).unwrap().row(0).to_vec())
}

#[track_caller]
fn check(packing: Packing, error_max: f32) {
    let (packed, plain) = pair(packing);
    let (found, expected) = (logits(packed.path()).unwrap(), logits(plain.path()).unwrap());
    let error = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
    assert!(error <= error_max, "off by {error}");
}

#[test]
fn gptq_reads_as_the_numbers_it_stands_for() {
    check(Packing::Gptq, 1e-3);
}

#[test]
fn awq_reads_as_the_numbers_it_stands_for() {
    check(Packing::Awq, 1e-3);
}

#[test]
fn gptq_whose_groups_are_in_an_order_of_their_own_reads_too() {
    // Widened to f16, which rounds.
    check(Packing::GptqInAnOrderOfItsOwn, 0.05);
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut Value), words: &[&str]) {
    let (packed, _) = pair(Packing::Gptq);
    edit(packed.path(), change);
    let message = logits(packed.path()).unwrap_err();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

#[test]
fn what_is_quantised_otherwise_is_refused() {
    let set =
        |field: &'static str, value: Value| move |config: &mut Value| config["quantization_config"][field] = value;
    check_refused(
        set("quant_method", json!("fp8")),
        &["quantization_config.quant_method", "\"gptq\" or \"awq\"", "fp8"],
    );
    check_refused(set("bits", json!(3)), &["quantization_config.bits", "must be 4"]);
    check_refused(set("group_size", json!(24)), &["quantization_config.group_size", "multiple of 32"]);
    check_refused(set("group_size", json!(64)), &["self_attn.q_proj.qzeros", "[2, 8]", "[1, 8]"]);
    let mut gemv = json!({"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemv"});
    check_refused(|config| config["quantization_config"] = gemv.take(), &["quantization_config.version", "gemm"]);
}
