//! The CPU backend: f32 sums over weights kept as they were stored, and the oracle for every other backend.
//!
//! Each output number is summed in an order that depends on nothing but its own inputs. So a sequence's logits are
//! the same to the last bit whatever shares its batch, however its prompt is cut, and whether a prefix was cached.

mod aligned;
mod attention;
mod backend;
mod cache;
mod elementwise;
mod experts;
mod isa;
mod lanes;
mod matrix;
mod meeting;
mod product;
mod tensor;
mod threads;

pub use backend::{CpuBackend, CpuOptions};
pub use cache::{Cache, KvType};
pub use isa::Isa;
pub use matrix::Matrix;
pub use product::Activations;
pub use tensor::{Step, Tensor};
pub use threads::{Placement, Threads, ThreadsConfig};

#[cfg(test)]
mod tests;
