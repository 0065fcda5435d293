//! Measures deciding code, native Rust beside components.
