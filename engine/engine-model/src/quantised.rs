//! Reads weights that GPTQ and AWQ stored in groups of four-bit numbers, into one layout of ours.
//!
//! Both keep, for each group of inputs and each output, a scale and a zero point; they pack the numbers differently.
//! GPTQ: AutoGPTQ's `qlinear` modules; AWQ: AutoAWQ's `WQLinear_GEMM`.

use std::borrow::Cow;

use engine_backend::DType;
use half::f16;

use crate::LoadError;
use crate::checkpoint::Checkpoint;
use crate::config::Fields;
use crate::weights::Stored;

/// How eight four-bit numbers lie in an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupPacking {
    /// Eight inputs of one output; zero points of eight outputs, stored less `zero_offset`.
    Gptq {
        /// One in the first version of the format, none in the second.
        zero_offset: u8,
    },
    /// Eight outputs of one input, in the order 0 2 4 6 1 3 5 7.
    Awq,
}

/// How linear layers' weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantisation {
    /// How they lie in integers.
    pub packing: GroupPacking,
    /// Inputs that share a scale; none: all of them.
    pub group: Option<usize>,
}

/// Numbers in an integer.
const PACKED: usize = 8;
/// Where AWQ puts output `i` of eight.
const AWQ_PLACES: [usize; PACKED] = [0, 4, 1, 5, 2, 6, 3, 7];
/// Numbers whose halves share bytes in our layout.
const RUN: usize = 32;

impl Quantisation {
    /// As config.json's `quantization_config` says.
    pub(crate) fn of(fields: &Fields) -> Result<Option<Quantisation>, LoadError> {
        let Some(found) = fields.object("quantization_config")? else {
            return Ok(None);
        };
        let method = found.text("quant_method")?;
        let packing = match method.as_deref() {
            Some("gptq") => {
                let second = found.text("checkpoint_format")?.as_deref() == Some("gptq_v2");
                GroupPacking::Gptq { zero_offset: u8::from(!second) }
            }
            Some("awq") => GroupPacking::Awq,
            _ => return Err(found.wrong("quant_method", "\"gptq\" or \"awq\"".to_owned())),
        };
        if found.text("version")?.is_some_and(|version| packing == GroupPacking::Awq && version != "gemm") {
            return Err(found.wrong("version", "\"gemm\"".to_owned()));
        }
        if found.count("bits")? != 4 {
            return Err(found.wrong("bits", "4".to_owned()));
        }
        let group = match found.integer("group_size")? {
            -1 => None,
            size => match usize::try_from(size) {
                Ok(size) if size > 0 && size.is_multiple_of(RUN) => Some(size),
                _ => return Err(found.wrong("group_size", format!("a multiple of {RUN}, or -1"))),
            },
        };
        Ok(Some(Quantisation { packing, group }))
    }

    /// A layer's weight, `expected` being outputs and inputs.
    pub(crate) fn tensor<'a>(
        &self,
        files: &'a Checkpoint,
        layer: &str,
        expected: &[usize],
    ) -> Result<Stored<'a>, LoadError> {
        let packed = Packed::read(self, files, layer, expected)?;
        let order = self.order(files, layer, &packed)?;
        let (dtype, bytes) = match order {
            None => (DType::Int4 { group: packed.group as u16 }, packed.grouped()),
            Some(order) => (DType::F16, packed.widened(&order)),
        };
        Ok(Stored { dtype, bytes: Cow::Owned(bytes), path: packed.path })
    }

    /// Which group each input is in, if they are not in order: GPTQ may sort inputs by how much they matter.
    fn order(&self, files: &Checkpoint, layer: &str, packed: &Packed<'_>) -> Result<Option<Vec<usize>>, LoadError> {
        let name = format!("{layer}.g_idx");
        if self.packing == GroupPacking::Awq || !files.has(&name) {
            return Ok(None);
        }
        let stored = files.integers(&name, &[packed.inputs])?;
        let groups: Vec<usize> = stored.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize).collect();
        if let Some(group) = groups.iter().find(|group| **group >= packed.groups()) {
            let reason = format!("{name} names group {group} of {}", packed.groups());
            return Err(LoadError::Quantised { path: packed.path.to_owned(), reason });
        }
        let sorted = groups.iter().enumerate().all(|(input, group)| *group == input / packed.group);
        Ok((!sorted).then_some(groups))
    }
}

/// A layer's numbers as they are stored.
struct Packed<'a> {
    packing: GroupPacking,
    path: &'a std::path::Path,
    outputs: usize,
    inputs: usize,
    /// Inputs in a group.
    group: usize,
    weights: &'a [[u8; 4]],
    zeros: &'a [[u8; 4]],
    /// For each group, one for each output.
    scales: Vec<f16>,
}

impl<'a> Packed<'a> {
    fn read(
        quantisation: &Quantisation,
        files: &'a Checkpoint,
        layer: &str,
        expected: &[usize],
    ) -> Result<Packed<'a>, LoadError> {
        let name = |part: &str| format!("{layer}.{part}");
        let &[outputs, inputs] = expected else { unreachable!("linear layers have outputs and inputs") };
        let group = quantisation.group.unwrap_or(inputs);
        let packing = quantisation.packing;
        let groups = inputs.div_ceil(group);
        let shape = match packing {
            GroupPacking::Gptq { .. } => [inputs / PACKED, outputs],
            GroupPacking::Awq => [inputs, outputs / PACKED],
        };
        let weights = files.integers(&name("qweight"), &shape)?;
        let zeros = files.integers(&name("qzeros"), &[groups, outputs / PACKED])?;
        let stored = files.tensor(&name("scales"), &[groups, outputs])?;
        let path = stored.path;
        let whole = outputs.is_multiple_of(PACKED) && inputs.is_multiple_of(group) && group.is_multiple_of(RUN);
        if !whole || group > usize::from(u16::MAX) {
            let reason =
                format!("{layer} has {outputs} outputs and {inputs} inputs, which groups of {group} do not fit");
            return Err(LoadError::Quantised { path: path.to_owned(), reason });
        }
        let scales = stored.part().read_f32().map(f16::from_f32).collect();
        Ok(Packed { packing, path, outputs, inputs, group, weights, zeros, scales })
    }

    fn groups(&self) -> usize {
        self.inputs / self.group
    }

    fn number(&self, output: usize, input: usize) -> u8 {
        match self.packing {
            GroupPacking::Gptq { .. } => nibble(self.weights[input / PACKED * self.outputs + output], input % PACKED),
            GroupPacking::Awq => {
                let packed = self.weights[input * (self.outputs / PACKED) + output / PACKED];
                nibble(packed, AWQ_PLACES[output % PACKED])
            }
        }
    }

    /// From 0 to 16.
    fn zero(&self, output: usize, group: usize) -> u8 {
        let packed = self.zeros[group * (self.outputs / PACKED) + output / PACKED];
        match self.packing {
            GroupPacking::Gptq { zero_offset } => nibble(packed, output % PACKED) + zero_offset,
            GroupPacking::Awq => nibble(packed, AWQ_PLACES[output % PACKED]),
        }
    }

    fn scale(&self, output: usize, group: usize) -> f16 {
        self.scales[group * self.outputs + output]
    }

    /// Rows of outputs in [`DType::Int4`].
    fn grouped(&self) -> Vec<u8> {
        let (_, group_bytes) = DType::Int4 { group: self.group as u16 }.block();
        let mut bytes = Vec::with_capacity(self.outputs * self.groups() * group_bytes);
        for output in 0..self.outputs {
            for group in 0..self.groups() {
                bytes.extend(self.scale(output, group).to_le_bytes());
                bytes.extend([self.zero(output, group), 0]);
                let inputs = group * self.group..(group + 1) * self.group;
                for run in inputs.step_by(RUN) {
                    let pair = |at: usize| {
                        let (low, high) = (run + at, run + at + RUN / 2);
                        self.number(output, low) | self.number(output, high) << 4
                    };
                    bytes.extend((0..RUN / 2).map(pair));
                }
            }
        }
        bytes
    }

    /// Rows of outputs in f16, for inputs whose groups are in no order.
    fn widened(&self, groups: &[usize]) -> Vec<u8> {
        let number = |output: usize, input: usize| {
            let group = groups[input];
            let steps = f32::from(self.number(output, input)) - f32::from(self.zero(output, group));
            f16::from_f32(self.scale(output, group).to_f32() * steps)
        };
        let numbers = (0..self.outputs).flat_map(|output| (0..self.inputs).map(move |input| number(output, input)));
        numbers.flat_map(f16::to_le_bytes).collect()
    }
}

fn nibble(packed: [u8; 4], at: usize) -> u8 {
    (u32::from_le_bytes(packed) >> (4 * at) & 15) as u8
}
