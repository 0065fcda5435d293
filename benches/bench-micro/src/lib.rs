//! Measures deciding code, one module per subject; in one run, native Rust beside components.

pub mod policy;
mod sampling;
mod table;
