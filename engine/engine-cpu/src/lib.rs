//! The CPU backend: f32 sums over weights kept as they were stored, and the oracle for every other backend.
//!
//! Each output number is summed in an order that depends on nothing but its own inputs. So a sequence's logits are
//! the same to the last bit whatever shares its batch, however its prompt is cut, and whether a prefix was cached.

mod attention;
mod backend;
mod cache;
mod elementwise;
mod experts;
mod isa;
mod lanes;
mod matrix;
mod parallel;
mod product;
mod tensor;
mod windowed;

pub use backend::CpuBackend;
pub use cache::Cache;
pub use isa::Isa;
pub use matrix::Matrix;
pub use tensor::{Step, Tensor};

#[cfg(test)]
mod tests;
