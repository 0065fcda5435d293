//! Measures deciding code, one module per subject; in one run, native Rust beside components.

mod cpu;
pub mod policy;
mod sampling;
mod table;
