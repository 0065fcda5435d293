//! policy-runtime
